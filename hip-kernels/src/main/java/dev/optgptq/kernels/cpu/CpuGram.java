package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.OpenBlas;
import dev.optgptq.kernels.cpu.loops.Parallel;

/**
 * The Hessian's rank-k update in strips of rows of the upper triangle: SYRK on the diagonal tile, GEMM to the right of
 * it. Wide strips share the packing of x; few of them would leave threads idle.
 */
final class CpuGram {

    /** The most columns of one GEMM, so that a large matrix makes more tasks than strips. */
    private static final long TILE_COLUMNS = 4096;

    private final OpenBlas blas;
    private final Parallel parallel;

    CpuGram(OpenBlas blas, Parallel parallel) {
        this.blas = blas;
        this.parallel = parallel;
    }

    /** Rows of a strip, measured to be best at n = 384, 1024, and from 2048 up. */
    static long stripRows(long n) {
        return n <= 512 ? 128 : n <= 1536 ? 192 : 256;
    }

    void accumulate(float alpha, Tensor x, Tensor h) {
        long n = h.rows();
        long strip = stripRows(n);
        long strips = Math.ceilDiv(n, strip);
        long across = Math.max(1, Math.ceilDiv(n, TILE_COLUMNS));
        // Strip by strip from the top, where they are longest, so that the last tasks are short.
        parallel.forEach(strips * across, task -> {
            long row = task / across * strip;
            long rows = Math.min(strip, n - row);
            long right = row + rows;
            long from = Math.max(right, task % across * TILE_COLUMNS);
            long to = Math.min(n, (task % across + 1) * TILE_COLUMNS);
            if (task % across == row / TILE_COLUMNS) {
                blas.gramUpper(alpha, x.columns(row, rows), h.rows(row, rows).columns(row, rows));
            }
            if (from < to) {
                blas.gemm(alpha, x.columns(row, rows), true, x.columns(from, to - from), false, 1f,
                        h.rows(row, rows).columns(from, to - from));
            }
        });
    }
}
