package dev.optgptq.kernels;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The same work on several devices at the same time, each driven by one thread. */
public final class Together {

    private Together() {}

    /** Work of one device. */
    @FunctionalInterface
    public interface Work {
        /** @param index of the device, from 0 */
        void run(int index);
    }

    /**
     * Start of one device's range when {@code things} consecutive items are divided over several devices; it ends where
     * the next one's begins. Ranges differ by at most one item, and the first is empty only if there are none.
     *
     * @param device its index; {@code devices} for the end of all
     */
    public static int from(int things, int device, int devices) {
        return Math.toIntExact(Math.ceilDiv((long) things * device, devices));
    }

    /**
     * Does the work of {@code count} devices, that of the first on the calling thread, and returns when all are done. Throws
     * the first failure by the order of the devices, with the others suppressed in it.
     */
    public static void run(int count, Work work) {
        List<Thread> threads = new ArrayList<>();
        @Nullable
        Throwable[] failures = new Throwable[count];
        for (int i = 1; i < count; i++) {
            int index = i;
            threads.add(Thread.ofPlatform().daemon().name("device-" + index)
                    .start(() -> attempt(index, work, failures)));
        }
        attempt(0, work, failures);
        threads.forEach(Together::await);
        rethrow(failures);
    }

    /** Brings the results of two devices together. */
    @FunctionalInterface
    public interface Joining {
        /** @param absorbed device, which has the results that follow those of the other; it has nothing to do after that */
        void run(int device, int absorbed);
    }

    /**
     * Brings the results of {@code count} devices together on the first: neighbours, then neighbouring pairs, each of them at the
     * same time.
     */
    public static void inPairs(int count, Joining work) {
        for (int apart = 1; apart < count; apart *= 2) {
            int between = apart;
            run(Math.ceilDiv(count - between, 2 * between),
                    pair -> work.run(2 * between * pair, 2 * between * pair + between));
        }
    }

    private static void attempt(int index, Work work, @Nullable Throwable[] failures) {
        try {
            work.run(index);
        } catch (RuntimeException | Error e) {
            failures[index] = e;
        }
    }

    /**
     * Waits until a thread has ended, despite interrupts: what it uses must not be freed before. The interrupt flag is
     * kept.
     */
    public static void await(Thread thread) {
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static void rethrow(@Nullable Throwable[] failures) {
        Throwable first = null;
        for (Throwable failure : failures) {
            if (first == null) {
                first = failure;
            } else if (failure != null) {
                first.addSuppressed(failure);
            }
        }
        switch (first) {
            case null -> {
                // none failed
            }
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException(first);
        }
    }
}
