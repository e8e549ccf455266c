package dev.optgptq.gptq.journal;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.OutputFiles;
import java.lang.foreign.MemorySegment;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Objects;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Writes on its own thread what another thread submits, in that order, while the other continues computing. Pending
 * bytes lie in a ring of host memory; while that is full, submitting blocks.
 *
 * <p>
 * After a task failed, later ones are skipped: what is written is always a prefix of what was submitted. The failure is
 * thrown by the next submission, wait or close. One thread submits; interrupting it is UserError OUTPUT. The writing
 * thread is a daemon.
 */
public final class WriteBehind implements AutoCloseable {

    private final Path where;
    private final long capacity;
    private final Thread writer;

    private final ReentrantLock lock = new ReentrantLock();
    /** Signalled when a task was submitted, done or failed, or when no more will come. */
    private final Condition changed = lock.newCondition();
    private final Deque<Task> waiting = new ArrayDeque<>();
    private @Nullable Ring ring;
    private boolean busy;
    private boolean closing;
    private @Nullable Throwable failure;
    private boolean told;

    /**
     * @param holdsMemory whether the oldest range of the ring is free afterwards
     * @param always whether it runs after a failure too
     */
    private record Task(Runnable work, boolean holdsMemory, boolean always) {}

    /**
     * Starts the thread. The memory is allocated with the first submission.
     *
     * @param where the place written to, for messages
     * @param capacity maximum of pending bytes, each tensor counted as {@link #aligned}; at least those of the largest
     *     tensor
     */
    public WriteBehind(Path where, long capacity) {
        this.where = where;
        this.capacity = capacity;
        this.writer = Thread.ofPlatform().daemon().name("opt-gptq-writer").start(this::run);
    }

    /** Share of the capacity that a tensor of this size takes. */
    public static long aligned(long bytes) {
        return Ring.aligned(bytes);
    }

    /**
     * Submits bytes.
     *
     * @param fill writes them, before this returns, to memory whose contents are undefined
     * @param write receives them later, on the other thread, and must not keep them
     */
    public void write(long bytes, Consumer<MemorySegment> fill, Consumer<MemorySegment> write) {
        MemorySegment segment = take(bytes);
        Runnable work = () -> {};
        try {
            fill.accept(segment);
            work = () -> write.accept(segment);
        } finally {
            add(new Task(work, true, false));
        }
    }

    /** Submits a task to run after all earlier ones. */
    public void then(Runnable work) {
        check();
        add(new Task(work, false, false));
    }

    /** Submits a cleanup task that runs even after a failure. Throws nothing. */
    public void finallyDo(Runnable work) {
        add(new Task(work, false, true));
    }

    /** Waits until all is done, and frees the memory until the next submission. */
    public void await() {
        lock.lock();
        try {
            while (busy || !waiting.isEmpty()) {
                sleep();
            }
            release();
        } finally {
            lock.unlock();
        }
        check();
    }

    /** Finishes all submitted tasks, ignoring interrupts; throws a failure that was not thrown before. */
    @Override
    public void close() {
        lock.lock();
        try {
            closing = true;
            changed.signalAll();
            while (writer.isAlive() && (busy || !waiting.isEmpty())) {
                changed.awaitUninterruptibly();
            }
            release();
        } finally {
            lock.unlock();
        }
        if (!told) {
            throwFailure();
        }
    }

    private MemorySegment take(long bytes) {
        check();
        lock.lock();
        try {
            Ring from = ring == null ? new Ring(capacity) : ring;
            ring = from;
            MemorySegment taken = from.take(bytes);
            while (taken == null) {
                sleep();
                throwFailure();
                taken = from.take(bytes);
            }
            return taken;
        } finally {
            lock.unlock();
        }
    }

    private void release() {
        if (ring != null) {
            ring.close();
            ring = null;
        }
    }

    /** Waits for a signal; the lock is held. */
    @SuppressWarnings("WaitNotInLoop") // which is the callers'
    private void sleep() {
        try {
            changed.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw interrupted();
        }
    }

    private UserError interrupted() {
        return OutputFiles.failure(where, new ClosedByInterruptException());
    }

    private void check() {
        if (Thread.currentThread().isInterrupted()) {
            throw interrupted();
        }
        throwFailure();
    }

    private void throwFailure() {
        lock.lock();
        try {
            told |= failure != null;
            switch (failure) {
                case null -> {
                }
                case RuntimeException e -> throw e;
                case Error e -> throw e;
                case Throwable e -> throw new IllegalStateException("a task threw a checked exception", e);
            }
        } finally {
            lock.unlock();
        }
    }

    private void add(Task task) {
        lock.lock();
        try {
            if (closing) {
                throw new IllegalStateException("submitted after closing");
            }
            waiting.addLast(task);
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    private void run() {
        for (Task task = next(); task != null; task = next()) {
            Throwable thrown = null;
            try {
                task.work.run();
            } catch (Throwable e) {
                // Also Errors: the submitting thread must not wait for a thread that has ended.
                thrown = e;
            }
            done(task, thrown);
        }
    }

    /** Null when no more tasks will come. */
    private @Nullable Task next() {
        lock.lock();
        try {
            while (true) {
                Task task = waiting.pollFirst();
                if (task == null) {
                    if (closing) {
                        changed.signalAll();
                        return null;
                    }
                    changed.awaitUninterruptibly();
                } else if (failure == null || task.always) {
                    busy = true;
                    return task;
                } else {
                    giveBack(task);
                }
            }
        } finally {
            lock.unlock();
        }
    }

    private void done(Task task, @Nullable Throwable thrown) {
        lock.lock();
        try {
            busy = false;
            if (failure == null) {
                failure = thrown;
            }
            giveBack(task);
        } finally {
            lock.unlock();
        }
    }

    private void giveBack(Task task) {
        if (task.holdsMemory) {
            Objects.requireNonNull(ring).giveBack();
        }
        changed.signalAll();
    }
}
