package dev.optgptq.kernels.cpu.loops;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * A small fixed pool of workers; the calling thread takes part. Any thread may run a task, but the tasks do not depend
 * on the number of threads: results are the same bits for any number, as long as tasks write to different memory.
 *
 * <p>
 * One caller at a time. A task must not start another parallel loop.
 */
public final class Parallel implements AutoCloseable {

    /** Spins before a thread sleeps, about 50 microseconds: ops follow each other closely, waking costs more. */
    private static final int SPINS = 1_500;

    private final List<Thread> workers = new ArrayList<>();
    private final AtomicBoolean running = new AtomicBoolean();
    private volatile @Nullable Job job;
    private volatile boolean closed;

    /** @param threads threads that compute, the caller's included; at least 1 */
    public Parallel(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("threads must be at least 1, found " + threads);
        }
        for (int i = 1; i < threads; i++) {
            workers.add(Thread.ofPlatform().daemon().name("opt-gptq-worker-" + i).start(this::work));
        }
    }

    /** Threads that compute, the caller's included. */
    public int threads() {
        return workers.size() + 1;
    }

    /** The part [from, to) of a range. */
    @FunctionalInterface
    public interface RangeBody {
        void accept(long from, long to);
    }

    /** Splits [0, size) into chunks of the given size, the last one shorter, and runs the body on each. */
    public void forRanges(long size, long chunk, RangeBody body) {
        forEach(Math.ceilDiv(size, chunk), i -> body.accept(i * chunk, Math.min(size, (i + 1) * chunk)));
    }

    /**
     * Runs body(0) .. body(tasks - 1), in any order, on all threads, and returns when all are done. The first exception
     * of a task is thrown here; tasks not yet begun are then left out.
     */
    public void forEach(long tasks, LongConsumer body) {
        if (closed) {
            throw new IllegalStateException("the device is closed");
        }
        if (!running.compareAndSet(false, true)) {
            throw new IllegalStateException("a parallel loop is running already");
        }
        try {
            if (tasks <= 1 || workers.isEmpty()) {
                for (long i = 0; i < tasks; i++) {
                    body.accept(i);
                }
            } else {
                share(tasks, body);
            }
        } finally {
            running.set(false);
        }
    }

    private void share(long tasks, LongConsumer body) {
        Job mine = new Job(tasks, body, Thread.currentThread());
        job = mine;
        long helpers = Math.min(workers.size(), tasks - 1);
        for (int i = 0; i < helpers; i++) {
            LockSupport.unpark(workers.get(i));
        }
        try {
            mine.run();
            mine.await();
        } finally {
            job = null;
        }
        mine.rethrow();
    }

    private void work() {
        Job last = null;
        int idle = 0;
        while (!closed) {
            Job current = job;
            if (current != null && current != last) {
                current.run();
                last = current;
                idle = 0;
            } else if (idle++ < SPINS) {
                Thread.onSpinWait();
            } else {
                last = null;
                LockSupport.park(this);
                idle = 0;
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        workers.forEach(LockSupport::unpark);
    }

    /** One loop: tasks are claimed one by one; a late worker finds nothing left and goes. */
    private static final class Job {
        private final long tasks;
        private final LongConsumer body;
        private final Thread caller;
        private final AtomicLong claimed = new AtomicLong();
        private final AtomicLong done = new AtomicLong();
        private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

        Job(long tasks, LongConsumer body, Thread caller) {
            this.tasks = tasks;
            this.body = body;
            this.caller = caller;
        }

        void run() {
            for (long task = claimed.getAndIncrement(); task < tasks; task = claimed.getAndIncrement()) {
                runOne(task);
                if (done.incrementAndGet() == tasks) {
                    LockSupport.unpark(caller);
                }
            }
        }

        private void runOne(long task) {
            if (failure.get() != null) {
                return;
            }
            try {
                body.accept(task);
            } catch (Throwable e) {
                // Also Errors: a worker must not die with the caller waiting.
                failure.compareAndSet(null, e);
            }
        }

        void await() {
            for (int spins = 0; done.get() < tasks; spins++) {
                if (spins < SPINS) {
                    Thread.onSpinWait();
                } else {
                    LockSupport.park(this);
                }
            }
        }

        void rethrow() {
            switch (failure.get()) {
                case null -> {
                }
                case RuntimeException e -> throw e;
                case Error e -> throw e;
                case Throwable e -> throw new IllegalStateException("a task threw a checked exception", e);
            }
        }
    }
}
