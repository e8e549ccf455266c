package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.UserError;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Whether a device can still be used, and the work issued since it last answered. A failed kernel is reported by some
 * later call, so a failure cannot be attributed to a single kernel, only to these. After it the device refuses every
 * call, or never returns from one: it is not called again. Thread-safe: uploads have their own thread.
 */
final class Health {

    private static final int REMEMBERED = 8;

    private final String device;
    private final String hint;
    private final Deque<String> unanswered = new ArrayDeque<>();
    private volatile @Nullable UserError loss;

    /** @param api hip or cuda; the message names its way to find the failing kernel */
    Health(String device, String api) {
        this.device = device;
        this.hint = api.equals("hip") ? "AMD_SERIALIZE_KERNEL=3" : "CUDA_LAUNCH_BLOCKING=1";
    }

    /** Records work issued to the device. */
    synchronized void issued(String what) {
        if (what.equals(unanswered.peekLast())) {
            return;
        }
        if (unanswered.size() == REMEMBERED) {
            unanswered.removeFirst();
        }
        unanswered.addLast(what);
    }

    /** All issued work is done. */
    synchronized void answered() {
        unanswered.clear();
    }

    boolean isLost() {
        return loss != null;
    }

    /** UserError DEVICE_LOST when the device is lost, which is not called. */
    void requireAlive() {
        tell(() -> {});
    }

    void tell(Runnable calls) {
        ask(() -> {
            calls.run();
            return device;
        });
    }

    /** Runs a driver call. UserError DEVICE_LOST when the device is lost now, or was before and is not called. */
    <T> T ask(Supplier<T> calls) {
        UserError before = loss;
        if (before != null) {
            // A new exception each time: one cannot be added as suppressed to itself.
            throw new UserError(UserError.Code.DEVICE_LOST, before.getMessage() + " (this was detected before)",
                    before);
        }
        try {
            return calls.get();
        } catch (UserError e) {
            throw e.code() == UserError.Code.DEVICE_LOST ? lost(e) : e;
        }
    }

    /** The first to detect it explains it. */
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
                : "; the failure is in one of the last operations issued to it: " + String.join(", ", unanswered);
        return new UserError(UserError.Code.DEVICE_LOST, device + " is lost: " + e.getMessage() + suspects
                + ". Start again; with the environment variable " + hint
                + " the last operation is the one that fails. If other programs fail on this device too, reset it", e);
    }
}
