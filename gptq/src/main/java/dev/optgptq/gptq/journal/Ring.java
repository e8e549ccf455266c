package dev.optgptq.gptq.journal;

import dev.optgptq.formats.UserError;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * A ring buffer in host memory: contiguous ranges, freed in the order in which they were allocated. Not thread-safe.
 */
final class Ring implements AutoCloseable {

    /** Ranges begin at multiples of it. */
    private static final long ALIGNMENT = 64;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory;
    private final Deque<Range> taken = new ArrayDeque<>();

    private record Range(long start, long end) {}

    /** Throws UserError MEMORY when the host has too little. */
    Ring(long capacity) {
        try {
            memory = arena.allocate(capacity, ALIGNMENT);
        } catch (OutOfMemoryError e) {
            arena.close();
            throw new UserError(UserError.Code.MEMORY, "cannot allocate " + capacity
                    + " bytes outside the Java heap for the write queue: " + e.getMessage(), e);
        }
    }

    /** Size of an allocation, rounded up to the alignment. */
    static long aligned(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /**
     * Allocates bytes, contents undefined; null while there is no room. An empty ring has room for its whole capacity.
     */
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

    /** Offset of a free range of this size, or -1. */
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

    /** Frees the oldest range. */
    void giveBack() {
        taken.removeFirst();
    }

    @Override
    public void close() {
        arena.close();
    }
}
