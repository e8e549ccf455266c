package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * u with u^T u = h^-1, in u's own memory: h = v v^T with v upper triangular, by blocks from the last columns to the
 * first, then u = v^-1 by bisection. Diagonal blocks are factored and inverted by one block of threads each; everything
 * else is matmuls. Needs a quarter of u's size as scratch.
 */
final class GpuInverseFactor {

    /** Edge of a diagonal block: two of them fit in shared memory. */
    private static final long BLOCK = 64;
    private static final int THREADS = Extent.THREADS;

    private final GpuContext context;
    private final GpuGemm gemm;

    GpuInverseFactor(GpuContext context, GpuGemm gemm) {
        this.context = context;
        this.gemm = gemm;
    }

    boolean compute(Tensor h, Tensor u) {
        long n = h.rows();
        if (n == 0) {
            return true;
        }
        Extent extent = Extent.byRows(h);
        context.kernel("cholesky", "copy_upper").launch(extent.blocks(), THREADS, 0, h, h.stride(), u, u.stride(), n);
        try (TensorArena arena = context.arena()) {
            Tensor inverses = arena.matrix(DType.F32, n, Math.min(n, BLOCK));
            Tensor failed = arena.vector(DType.I32, 1);
            context.kernel("move", "fill").launch(1, THREADS, 0, failed, 1L, 0, 0f, 1L);
            factor(u, inverses, failed, arena.matrix(DType.F32, n, Math.min(n, BLOCK)));
            if (wasSet(failed)) {
                return false;
            }
            long half = middle(n);
            invert(u, inverses, arena.matrix(DType.F32, half, half));
        }
        return true;
    }

    /**
     * v in place of u's upper triangle, and the inverses of its diagonal blocks.
     *
     * @param panel [n, BLOCK] scratch
     */
    private void factor(Tensor u, Tensor inverses, Tensor failed, Tensor panel) {
        long n = u.rows();
        Kernel factorBlock = context.kernel("cholesky", "factor_block");
        for (long from = (n - 1) / BLOCK * BLOCK; from >= 0; from -= BLOCK) {
            long size = Math.min(BLOCK, n - from);
            Tensor pivot = u.rows(from, size).columns(from, size);
            Tensor inverse = inverses.rows(from, size).columns(0, size);
            factorBlock.launch(1, THREADS, 0, pivot, pivot.stride(), inverse, inverse.stride(), (int) size, failed);
            Tensor above = u.rows(0, from).columns(from, size);
            Tensor before = panel.rows(0, from).columns(0, size);
            copy(above, before);
            gemm.multiply(1f, before, false, inverse, true, 0f, above);
            gemm.multiplyUpper(-1f, above, false, above, true, 1f, u.rows(0, from).columns(0, from));
        }
    }

    private void copy(Tensor source, Tensor target) {
        Extent extent = Extent.byRows(source);
        context.kernel("move", "gather_rows").launch(extent.blocks(), THREADS, 0, source, source.stride(),
                source.rows(), null, target, target.stride(), source.dtype().bytes(), extent.columns());
    }

    /**
     * v to v^-1: with v in halves [a, b; 0, c] the inverse is [a^-1, -a^-1 b c^-1; 0, c^-1].
     *
     * @param scratch at least [rows of a, rows of a]
     */
    private void invert(Tensor v, Tensor inverses, Tensor scratch) {
        long n = v.rows();
        if (n <= BLOCK) {
            context.kernel("cholesky", "set_diagonal_block").launch(1, THREADS, 0, inverses, inverses.stride(), v,
                    v.stride(), (int) n);
            return;
        }
        long half = middle(n);
        Tensor first = v.rows(0, half).columns(0, half);
        Tensor second = v.rows(half, n - half).columns(half, n - half);
        Tensor between = v.rows(0, half).columns(half, n - half);
        invert(first, inverses.rows(0, half), scratch);
        invert(second, inverses.rows(half, n - half), scratch);
        Tensor product = scratch.rows(0, half).columns(0, n - half);
        gemm.multiply(1f, between, false, second, false, 0f, product);
        gemm.multiply(-1f, first, false, product, false, 0f, between);
    }

    /** About half of n, in whole blocks, the larger part first: the scratch of a whole is then enough for its parts. */
    private static long middle(long n) {
        return Math.min(n, Math.ceilDiv(Math.ceilDiv(n, BLOCK), 2) * BLOCK);
    }

    private boolean wasSet(Tensor flag) {
        MemorySegment value = MemorySegment.ofArray(new int[1]);
        context.download(flag, value);
        return value.get(ValueLayout.JAVA_INT, 0) != 0;
    }
}
