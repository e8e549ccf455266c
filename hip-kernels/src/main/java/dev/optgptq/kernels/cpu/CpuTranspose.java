package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Transposition by square tiles that fit in the first-level cache, each turned in heap arrays. */
final class CpuTranspose {

    private static final int TILE = 64;
    /** Tiles of a task, neighbours across the source. */
    private static final long TILES = 8;

    private CpuTranspose() {}

    static void transpose(Parallel parallel, Tensor source, Tensor target) {
        long down = Math.ceilDiv(source.rows(), TILE);
        long across = Math.ceilDiv(source.columns(), TILE);
        parallel.forRanges(down * across, TILES, (from, to) -> {
            Turner turner = Turner.of(source.dtype().bytes());
            for (long tile = from; tile < to; tile++) {
                turner.turn(source, tile / across * TILE, tile % across * TILE, target);
            }
        });
    }

    /** The strict lower triangle of h from the upper one. */
    static void symmetrize(Parallel parallel, Tensor h) {
        long across = Math.ceilDiv(h.rows(), TILE);
        parallel.forEach(across, i -> {
            Turner turner = Turner.of(Float.BYTES);
            for (long j = i + 1; j < across; j++) {
                turner.turn(h, i * TILE, j * TILE, h);
            }
            long end = Math.min(h.rows(), (i + 1) * TILE);
            for (long row = i * TILE; row < end; row++) {
                for (long column = i * TILE; column < row; column++) {
                    float above = h.memory().get(Memory.FLOAT, Memory.row(h, column) + 4 * row);
                    h.memory().set(Memory.FLOAT, Memory.row(h, row) + 4 * column, above);
                }
            }
        });
    }

    /**
     * Transposes one tile: source[row .. , column ..] to target[column .. , row ..]. Has buffers, so one per thread.
     */
    private sealed interface Turner {

        void turn(Tensor source, long row, long column, Tensor target);

        static Turner of(int bytes) {
            return switch (bytes) {
                case 1 -> new Bytes(new byte[TILE * TILE], new byte[TILE]);
                case 2 -> new Shorts(new short[TILE * TILE], new short[TILE]);
                case 4 -> new Ints(new int[TILE * TILE], new int[TILE]);
                default -> throw new IllegalArgumentException("no transposition of " + bytes + "-byte elements");
            };
        }
    }

    private record Ints(int[] tile, int[] line) implements Turner {
        @Override
        public void turn(Tensor source, long row, long column, Tensor target) {
            int rows = (int) Math.min(TILE, source.rows() - row);
            int columns = (int) Math.min(TILE, source.columns() - column);
            for (int r = 0; r < rows; r++) {
                MemorySegment.copy(source.memory(), Memory.INT, Memory.row(source, row + r) + 4 * column, tile,
                        r * TILE, columns);
            }
            for (int c = 0; c < columns; c++) {
                for (int r = 0; r < rows; r++) {
                    line[r] = tile[r * TILE + c];
                }
                MemorySegment.copy(line, 0, target.memory(), Memory.INT, Memory.row(target, column + c) + 4 * row,
                        rows);
            }
        }
    }

    private record Shorts(short[] tile, short[] line) implements Turner {
        @Override
        public void turn(Tensor source, long row, long column, Tensor target) {
            int rows = (int) Math.min(TILE, source.rows() - row);
            int columns = (int) Math.min(TILE, source.columns() - column);
            for (int r = 0; r < rows; r++) {
                MemorySegment.copy(source.memory(), Memory.SHORT, Memory.row(source, row + r) + 2 * column, tile,
                        r * TILE, columns);
            }
            for (int c = 0; c < columns; c++) {
                for (int r = 0; r < rows; r++) {
                    line[r] = tile[r * TILE + c];
                }
                MemorySegment.copy(line, 0, target.memory(), Memory.SHORT, Memory.row(target, column + c) + 2 * row,
                        rows);
            }
        }
    }

    private record Bytes(byte[] tile, byte[] line) implements Turner {
        @Override
        public void turn(Tensor source, long row, long column, Tensor target) {
            int rows = (int) Math.min(TILE, source.rows() - row);
            int columns = (int) Math.min(TILE, source.columns() - column);
            for (int r = 0; r < rows; r++) {
                MemorySegment.copy(source.memory(), ValueLayout.JAVA_BYTE, Memory.row(source, row + r) + column, tile,
                        r * TILE, columns);
            }
            for (int c = 0; c < columns; c++) {
                for (int r = 0; r < rows; r++) {
                    line[r] = tile[r * TILE + c];
                }
                MemorySegment.copy(line, 0, target.memory(), ValueLayout.JAVA_BYTE,
                        Memory.row(target, column + c) + row, rows);
            }
        }
    }
}
