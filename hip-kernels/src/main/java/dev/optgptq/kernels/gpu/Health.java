package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.UserError;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Whether a device can still be used, and what it was given to do since it last answered. A kernel that fails is reported
 * by whichever call comes later, so a failure can be blamed on no single kernel, but on these. After it the device refuses
 * every call, or never returns from one: it is not asked again. Safe for concurrent use: uploads have a thread of their own.
 */
final class Health {

    private static final int REMEMBERED = 8;

    private final String device;
    private final String hint;
    private final Deque<String> unanswered = new ArrayDeque<>();
    private volatile @Nullable UserError loss;

    /** @param api hip or cuda, whose own way to find a failing kernel the message names */
    Health(String device, String api) {
        this.device = device;
        this.hint = api.equals("hip") ? "AMD_SERIALIZE_KERNEL=3" : "CUDA_LAUNCH_BLOCKING=1";
    }

    /** The device was given this to do, some time later. */
    synchronized void issued(String what) {
        if (what.equals(unanswered.peekLast())) {
            return;
        }
        if (unanswered.size() == REMEMBERED) {
            unanswered.removeFirst();
        }
        unanswered.addLast(what);
    }

    /** All that was issued has been done. */
    synchronized void answered() {
        unanswered.clear();
    }

    boolean isLost() {
        return loss != null;
    }

    void tell(Runnable calls) {
        ask(() -> {
            calls.run();
            return device;
        });
    }

    /** What the driver's calls give. UserError DEVICE_LOST when the device is lost by now, or was before and is not asked. */
    <T> T ask(Supplier<T> calls) {
        UserError before = loss;
        if (before != null) {
            // Another exception each time: one that is thrown while itself is handled cannot be added to itself.
            throw new UserError(UserError.Code.DEVICE_LOST, before.getMessage() + " (this was found out before)",
                    before);
        }
        try {
            return calls.get();
        } catch (UserError e) {
            throw e.code() == UserError.Code.DEVICE_LOST ? lost(e) : e;
        }
    }

    /** The first who finds out explains it. */
    private synchronized UserError lost(UserError e) {
        if (loss != null) {
            return e;
        }
        UserError explained = explained(e);
        loss = explained;
        return explained;
    }

    private UserError explained(UserError e) {
        String suspects = unanswered.isEmpty()
                ? ""
                : "; what failed is one of the last things issued to it: " + String.join(", ", unanswered);
        return new UserError(UserError.Code.DEVICE_LOST, device + " is lost: " + e.getMessage() + suspects
                + ". Start again; with the environment variable " + hint
                + " the last one is the one that fails. If other"
                + " programs fail on this device too, it has to be reset", e);
    }
}
