package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;

/**
 * The Hessian's rank-k update, h += alpha x^T x in the upper triangle. Libraries have no fp16/bf16 SYRK, so it is done
 * in strips of rows: the part right of a strip's diagonal block is one matmul; the blocks themselves are one of a batch, into
 * scratch of which the upper triangles are added. That is (1 + strips) / 2 strips of the whole matmul.
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
        long edge = Math.min(n, STRIP);
        try (TensorArena arena = context.arena()) {
            Tensor blocks = arena.matrix(DType.F32, n, edge);
            diagonalBlocks(blas, alpha, x, blocks);
            context.kernel("elementwise", "add_upper_blocks").launch(Extent.byRows(blocks).blocks(), THREADS, 0, h,
                    h.stride(), n, blocks, blocks.stride(), edge);
        }
        for (long end = edge; end < n; end += edge) {
            Tensor strip = h.rows(end - edge, edge);
            blas.gemm(alpha, x.columns(end - edge, edge), true, x.columns(end, n - end), false, 1f,
                    strip.columns(end, n - end));
        }
    }

    /** alpha x^T x of every strip with itself, one under the other: the whole ones in one call, which fills the device. */
    private static void diagonalBlocks(GpuBlas blas, float alpha, Tensor x, Tensor blocks) {
        long n = blocks.rows();
        long edge = blocks.columns();
        long whole = n / edge * edge;
        Tensor first = x.columns(0, edge);
        blas.gemmStrided(alpha, first, true, first, false, 0f, blocks.rows(0, edge),
                new GpuBlas.Batch(Math.toIntExact(n / edge), edge, edge, edge * edge));
        if (whole < n) {
            Tensor last = x.columns(whole, n - whole);
            blas.gemm(alpha, last, true, last, false, 0f, blocks.rows(whole, n - whole).columns(0, n - whole));
        }
    }
}
