package dev.optgptq.gptq.journal;

import dev.optgptq.formats.UserError;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/** Host memory in a ring: ranges without a break, given back in the order in which they were taken. For one thread at a time. */
final class Ring implements AutoCloseable {

    /** Ranges begin at multiples of it. */
    private static final long ALIGNMENT = 64;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory;
    private final Deque<Range> taken = new ArrayDeque<>();

    private record Range(long start, long end) {}

    /** Throws UserError MEMORY when the host has not so much. */
    Ring(long capacity) {
        try {
            memory = arena.allocate(capacity, ALIGNMENT);
        } catch (OutOfMemoryError e) {
            arena.close();
            throw new UserError(UserError.Code.MEMORY, "cannot allocate " + capacity
                    + " bytes outside the Java heap for what waits to be written: " + e.getMessage(), e);
        }
    }

    /** What so many bytes take of the ring. */
    static long aligned(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** So many bytes, contents undefined; null while there is no room for them. What the ring can hold fits an empty one. */
    @Nullable
    MemorySegment take(long bytes) {
        long size = aligned(bytes);
        if (size <= 0 || size > memory.byteSize()) {
            throw new IllegalArgumentException("expected 1 to " + memory.byteSize() + " bytes, found " + bytes);
        }
        long start = free(size);
        if (start < 0) {
            return null;
        }
        taken.addLast(new Range(start, start + size));
        return memory.asSlice(start, bytes);
    }

    /** Where so many bytes are free, or -1. */
    private long free(long size) {
        if (taken.isEmpty()) {
            return 0;
        }
        long oldest = taken.getFirst().start;
        long next = taken.getLast().end;
        boolean wrapped = taken.getLast().start < oldest;
        if (next + size <= (wrapped ? oldest : memory.byteSize())) {
            return next;
        }
        return !wrapped && size <= oldest ? 0 : -1;
    }

    /** The oldest range is free. */
    void giveBack() {
        taken.removeFirst();
    }

    @Override
    public void close() {
        arena.close();
    }
}
