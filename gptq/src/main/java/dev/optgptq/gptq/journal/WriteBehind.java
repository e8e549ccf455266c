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
 * Writes on a thread of its own what another hands over, in that order, while the other goes on computing. What waits to
 * be written lies in a ring of host memory; while that is full, whoever hands over waits.
 *
 * <p>
 * After a task failed, no later one is done: what counts is always the first part of what was handed over. The failure is
 * thrown to whoever hands over next, waits, or closes. One thread hands over; it may be interrupted, which is UserError
 * OUTPUT. The writing thread holds up no process that is to end.
 */
public final class WriteBehind implements AutoCloseable {

    private final Path where;
    private final long capacity;
    private final Thread writer;

    private final ReentrantLock lock = new ReentrantLock();
    /** Something was handed over, done, or failed, or nothing more will come. */
    private final Condition changed = lock.newCondition();
    private final Deque<Task> waiting = new ArrayDeque<>();
    private @Nullable Ring ring;
    private boolean busy;
    private boolean closing;
    private @Nullable Throwable failure;
    private boolean told;

    /**
     * @param holdsMemory whether the oldest range of the ring is free afterwards
     * @param always whether it is done after a failure, too
     */
    private record Task(Runnable work, boolean holdsMemory, boolean always) {}

    /**
     * Starts the thread. The memory is taken when the first bytes are handed over.
     *
     * @param where it writes, for messages
     * @param capacity most bytes that wait to be written, each tensor's taken as {@link #aligned}; those of the largest
     *     tensor at least
     */
    public WriteBehind(Path where, long capacity) {
        this.where = where;
        this.capacity = capacity;
        this.writer = Thread.ofPlatform().daemon().name("opt-gptq-writer").start(this::run);
    }

    /** What a tensor of so many bytes takes of the capacity. */
    public static long aligned(long bytes) {
        return Ring.aligned(bytes);
    }

    /**
     * Hands bytes over.
     *
     * @param fill writes them, before this returns, to memory whose contents are undefined
     * @param write is given them later, on the other thread, and keeps no hold of them
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

    /** Hands over what is to be done once all before it is. */
    public void then(Runnable work) {
        check();
        add(new Task(work, false, false));
    }

    /** Hands over what gives something back, and is done even after a failure. Throws nothing. */
    public void finallyDo(Runnable work) {
        add(new Task(work, false, true));
    }

    /** Waits until all is done, and gives the memory back until more is handed over. */
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

    /** Lets all that was handed over be done, whoever interrupts; throws a failure that nobody was told. */
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

    /** Until something changed; the lock is held. */
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
                throw new IllegalStateException("handed over after closing");
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
                // Also Errors: who hands over must not wait for a thread that has ended.
                thrown = e;
            }
            done(task, thrown);
        }
    }

    /** Null when nothing more will come. */
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
