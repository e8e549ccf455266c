package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.blas.OpenBlas;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Matmuls as OpenBLAS calls on tiles of the result, each with its whole inner dimension; small ones as one call in float64. The
 * tiles depend only on the shape.
 */
final class CpuGemm {

    /**
     * Tile sizes. OpenBLAS packs both operands of every call, so a tile of r x c pays (r + c) / (r c) of copying per
     * multiplication: with these, less than a twentieth of the time.
     */
    private static final long TILE_ROWS = 512;
    private static final long TILE_COLUMNS = 1024;
    /** Smaller tiles pack more but let more threads take part; below this many tiles that is worth more. */
    private static final long FEW_TILES = 4;
    /** Tile edges are multiples of it, so that no micro-kernel is cut in the middle of a result. */
    private static final long EDGE = 64;

    private final OpenBlas blas;
    private final CpuSmallGemm small;
    private final Parallel parallel;

    CpuGemm(OpenBlas blas, DoubleBlas doubles, Parallel parallel) {
        this.blas = blas;
        this.small = new CpuSmallGemm(doubles);
        this.parallel = parallel;
    }

    /** The cut of a result: equal tiles, the last ones shorter. */
    record Tiling(long rows, long columns, long tileRows, long tileColumns) {

        static Tiling of(long rows, long columns) {
            Tiling large = new Tiling(rows, columns, even(rows, TILE_ROWS), even(columns, TILE_COLUMNS));
            return large.count() >= FEW_TILES
                    ? large
                    : new Tiling(rows, columns, even(rows, TILE_ROWS / 2), even(columns, TILE_COLUMNS / 4));
        }

        private static long even(long size, long most) {
            long parts = Math.max(1, Math.ceilDiv(size, most));
            return Math.max(EDGE, Math.ceilDiv(Math.ceilDiv(size, parts), EDGE) * EDGE);
        }

        private long down() {
            return Math.ceilDiv(rows, tileRows);
        }

        long count() {
            return down() * Math.ceilDiv(columns, tileColumns);
        }

        long firstRow(long tile) {
            return tile % down() * tileRows;
        }

        long firstColumn(long tile) {
            return tile / down() * tileColumns;
        }

        /** The tile of a result. */
        Tensor of(long tile, Tensor result) {
            long row = firstRow(tile);
            long column = firstColumn(tile);
            return result.rows(row, Math.min(tileRows, rows - row)).columns(column,
                    Math.min(tileColumns, columns - column));
        }
    }

    void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        if (CpuSmallGemm.takes(y.rows(), y.columns(), x.columns())) {
            small.gemm(1, x, false, w, true, beta, bias, y);
            return;
        }
        Tiling tiling = Tiling.of(y.rows(), y.columns());
        parallel.forEach(tiling.count(), tile -> {
            Tensor part = tiling.of(tile, y);
            long column = tiling.firstColumn(tile);
            if (bias != null) {
                startWithBias(bias.columns(column, part.columns()), beta, part);
            }
            blas.gemm(1f, x.rows(tiling.firstRow(tile), part.rows()), false, w.rows(column, part.columns()), true,
                    bias == null ? beta : 1f, part);
        });
    }

    void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        if (CpuSmallGemm.takes(c.rows(), c.columns(), transposeA ? a.rows() : a.columns())) {
            small.gemm(alpha, a, transposeA, b, transposeB, beta, null, c);
            return;
        }
        Tiling tiling = Tiling.of(c.rows(), c.columns());
        parallel.forEach(tiling.count(), tile -> {
            Tensor part = tiling.of(tile, c);
            long row = tiling.firstRow(tile);
            long column = tiling.firstColumn(tile);
            blas.gemm(alpha, transposeA ? a.columns(row, part.rows()) : a.rows(row, part.rows()), transposeA,
                    transposeB ? b.rows(column, part.columns()) : b.columns(column, part.columns()), transposeB, beta,
                    part);
        });
    }

    /** y = bias + beta y, row by row; the product is added to it. */
    static void startWithBias(Tensor bias, float beta, Tensor y) {
        int columns = Math.toIntExact(y.columns());
        for (long row = 0; row < y.rows(); row++) {
            long at = Memory.row(y, row);
            if (beta == 0) {
                MemorySegment.copy(bias.memory(), 0, y.memory(), at, 4L * columns);
            } else {
                CpuElementwise.scaleAddRow(y.memory(), at, beta, bias.memory(), 0, columns);
            }
        }
    }
}
