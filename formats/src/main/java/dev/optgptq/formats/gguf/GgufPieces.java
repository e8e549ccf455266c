package dev.optgptq.formats.gguf;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Writes tensors in pieces of rows: while one is written, the next is computed. */
final class GgufPieces implements AutoCloseable {

    private static final long PIECE_BYTES = 8L << 20;

    private final GgufWriter writer;
    private final ExecutorService thread = Executors
            .newSingleThreadExecutor(Thread.ofPlatform().daemon().name("opt-gptq-gguf-writer").factory());
    private Buffer due = new Buffer();
    private Buffer other = new Buffer();
    private @Nullable Future<?> stored;

    GgufPieces(GgufWriter writer) {
        this.writer = writer;
    }

    /** Where the rows of a tensor come from. */
    interface Source {
        /**
         * Computes some of them.
         *
         * @param to after the last
         * @param target all of their bytes, written
         */
        void put(int from, int to, MemorySegment target);
    }

    /** Rows that are computed all together. */
    record Whole(Consumer<MemorySegment> rows) implements Source {
        @Override
        public void put(int from, int to, MemorySegment target) {
            rows.accept(target);
        }
    }

    /** Rows whose bytes lie somewhere already. */
    record Stored(MemorySegment bytes) implements Source {
        @Override
        public void put(int from, int to, MemorySegment target) {
            long row = target.byteSize() / (to - from);
            target.copyFrom(bytes.asSlice(row * from, row * (to - from)));
        }
    }

    /** Memory for a piece, and what is being written from it. */
    private static final class Buffer {
        private MemorySegment memory = MemorySegment.NULL;
        private @Nullable Future<?> writing;

        MemorySegment of(long bytes) {
            if (memory.byteSize() < bytes) {
                memory = Arena.ofAuto().allocate(Math.max(bytes, PIECE_BYTES), Long.BYTES);
            }
            return memory.asSlice(0, bytes);
        }
    }

    /** The next tensor, or a member of it. */
    void write(GgufTensor tensor, Source source) {
        if (source instanceof Stored(MemorySegment bytes)) {
            await(stored);
            stored = thread.submit(() -> writer.write(bytes));
            return;
        }
        int rows = tensor.rows();
        long rowBytes = tensor.bytes() / rows;
        int step = source instanceof Whole
                ? rows
                : (int) Math.max(1, PIECE_BYTES / rowBytes / PackedBlocks.TILE * PackedBlocks.TILE);
        for (int from = 0; from < rows; from += step) {
            int to = Math.min(rows, from + step);
            await(due.writing);
            MemorySegment piece = due.of(rowBytes * (to - from));
            source.put(from, to, piece);
            due.writing = thread.submit(() -> writer.write(piece));
            Buffer next = other;
            other = due;
            due = next;
        }
    }

    /** Waits until everything is written. */
    void finish() {
        await(stored);
        await(due.writing);
        await(other.writing);
    }

    private static void await(@Nullable Future<?> writing) {
        if (writing == null) {
            return;
        }
        try {
            writing.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RuntimeException failed) {
                throw failed;
            }
            throw new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while a file is written", e);
        }
    }

    @Override
    public void close() {
        thread.close();
    }
}
