package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;

/**
 * The Hessian's rank-k update, h += alpha x^T x in the upper triangle. Libraries have no fp16/bf16 SYRK, so it is done
 * in strips of rows: the part right of a strip's diagonal block is one matmul, the block itself is one into scratch, of
 * which the upper triangle is added. That is (1 + strips) / 2 strips of the whole matmul.
 */
final class GpuGram {

    private static final int THREADS = 256;
    /** Rows of a strip: wide enough for the library's full rate. */
    private static final long STRIP = 1024;
    /** Edge of the tile of a block of gemm.hip. */
    private static final long TILE = 128;

    private final GpuContext context;
    private final GpuGemm gemm;

    GpuGram(GpuContext context, GpuGemm gemm) {
        this.context = context;
        this.gemm = gemm;
    }

    void accumulate(float alpha, Tensor x, Tensor h) {
        GpuBlas blas = context.blas();
        if (blas != null && x.elements() > 0 && context.trustsProducts(x.dtype())) {
            byStrips(blas, alpha, x, h);
        } else if (x.dtype() == DType.F32) {
            gemm.multiplyUpper(alpha, x, true, x, false, 1f, h);
        } else {
            long tiles = Math.ceilDiv(h.rows(), TILE);
            context.kernel("gemm", x.dtype() == DType.F16 ? "gram_f16" : "gram_bf16").launchGrid(tiles, tiles, 1,
                    THREADS, 0, Math.toIntExact(x.rows()), Math.toIntExact(h.rows()), alpha, x, x.stride(), h,
                    h.stride());
        }
    }

    private void byStrips(GpuBlas blas, float alpha, Tensor x, Tensor h) {
        long n = h.rows();
        try (TensorArena arena = context.arena()) {
            Tensor scratch = arena.matrix(DType.F32, Math.min(n, STRIP), Math.min(n, STRIP));
            for (long from = 0; from < n; from += STRIP) {
                long rows = Math.min(STRIP, n - from);
                Tensor left = x.columns(from, rows);
                Tensor strip = h.rows(from, rows);
                Tensor block = scratch.rows(0, rows).columns(0, rows);
                blas.gemm(alpha, left, true, left, false, 0f, block);
                addUpper(strip.columns(from, rows), block);
                long right = n - from - rows;
                if (right > 0) {
                    blas.gemm(alpha, left, true, x.columns(from + rows, right), false, 1f,
                            strip.columns(from + rows, right));
                }
            }
        }
    }

    private void addUpper(Tensor h, Tensor block) {
        Extent extent = Extent.byRows(h);
        context.kernel("elementwise", "add_upper").launch(extent.blocks(), THREADS, 0, h, h.stride(), block,
                block.stride(), extent.columns());
    }
}
