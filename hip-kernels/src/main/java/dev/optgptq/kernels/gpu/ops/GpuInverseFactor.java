package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * u with u^T u = h^-1, in u's own memory: h = v v^T with v upper triangular, right-looking and by blocks from the last columns to
 * the first, then u = v^-1 by bisection. Nothing needs a diagonal block of v, only its inverse, which takes its place. Blocks of
 * {@link #WIDE} columns keep the matmuls deep; their own diagonal blocks are factored in the same way by blocks of
 * {@link #NARROW}, each of which one block of threads factors and inverts. Needs a quarter of u's size as scratch, and WIDE
 * columns of it.
 */
final class GpuInverseFactor {

    private static final int THREADS = Extent.THREADS;
    /** Edge of the blocks that one block of threads factors, and its threads. */
    private static final long NARROW = 128;
    private static final int NARROW_THREADS = 256;
    /** Edge of the blocks of a large matrix. */
    private static final long WIDE = 512;
    /** Rows or columns of one matmul where a triangle is multiplied: what lies beyond the triangle is left out. */
    private static final long STRIP = 1024;

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
        copy(h, u);
        try (TensorArena arena = context.arena()) {
            Tensor failed = arena.vector(DType.I32, 1);
            context.kernel("move", "fill").launch(1, THREADS, 0, failed, 1L, 0, 0f, 1L);
            factor(u, arena.matrix(DType.F32, n, Math.min(n, WIDE)), failed);
            if (wasSet(failed)) {
                return false;
            }
            long edge = edge(n);
            if (n > edge) {
                long half = middle(n, edge);
                invert(u, edge, arena.matrix(DType.F32, half, half));
            }
        }
        return true;
    }

    private static long edge(long n) {
        return n > WIDE ? WIDE : NARROW;
    }

    /**
     * v in place of u's upper triangle, the inverses of its diagonal blocks in theirs, zeros below.
     *
     * @param panel at least [n, edge] scratch
     */
    private void factor(Tensor u, Tensor panel, Tensor failed) {
        long n = u.rows();
        long edge = edge(n);
        for (long from = (n - 1) / edge * edge; from >= 0; from -= edge) {
            long size = Math.min(edge, n - from);
            Tensor block = u.rows(from, size).columns(from, size);
            invertBlock(block, panel, failed);
            if (from > 0) {
                Tensor above = u.rows(0, from).columns(from, size);
                Tensor before = panel.rows(0, from).columns(0, size);
                copy(above, before);
                gemm.multiply(1f, before, false, block, true, 0f, above);
                subtractSquare(above, u.rows(0, from).columns(0, from));
            }
        }
        if (n > edge) {
            context.kernel("cholesky", "zero_below").launch(Extent.byRows(u).blocks(), THREADS, 0, u, u.stride(), n);
        }
    }

    /** A diagonal block becomes the inverse of its factor. */
    private void invertBlock(Tensor block, Tensor panel, Tensor failed) {
        long n = block.rows();
        if (n <= NARROW) {
            context.kernel("cholesky", "invert_block").launch(1, NARROW_THREADS, 0, block, block.stride(), (int) n,
                    failed);
            return;
        }
        factor(block, panel, failed);
        long half = middle(n, NARROW);
        invert(block, NARROW, panel.rows(0, half).columns(0, half));
    }

    /** u -= x x^T on and above the diagonal, and in whole strips of rows, so that some of what is below changes, too. */
    private void subtractSquare(Tensor x, Tensor u) {
        long n = u.rows();
        for (long from = 0; from < n; from += STRIP) {
            long rows = Math.min(STRIP, n - from);
            gemm.multiply(-1f, x.rows(from, rows), false, x.rows(from, n - from), true, 1f,
                    u.rows(from, rows).columns(from, n - from));
        }
    }

    /**
     * v to v^-1, where its diagonal blocks are inverted: with v in halves [a, b; 0, c] the inverse is [a^-1, -a^-1 b c^-1; 0,
     * c^-1].
     *
     * @param edge of the diagonal blocks
     * @param scratch at least [rows of a, rows of a]
     */
    private void invert(Tensor v, long edge, Tensor scratch) {
        long n = v.rows();
        if (n <= edge) {
            return;
        }
        long half = middle(n, edge);
        Tensor first = v.rows(0, half).columns(0, half);
        Tensor second = v.rows(half, n - half).columns(half, n - half);
        Tensor between = v.rows(0, half).columns(half, n - half);
        invert(first, edge, scratch);
        invert(second, edge, scratch);
        Tensor product = scratch.rows(0, half).columns(0, n - half);
        for (long from = 0; from < n - half; from += STRIP) {
            long columns = Math.min(STRIP, n - half - from);
            gemm.multiply(1f, between.columns(0, from + columns), false,
                    second.rows(0, from + columns).columns(from, columns), false, 0f, product.columns(from, columns));
        }
        for (long from = 0; from < half; from += STRIP) {
            long rows = Math.min(STRIP, half - from);
            gemm.multiply(-1f, first.rows(from, rows).columns(from, half - from), false,
                    product.rows(from, half - from), false, 0f, between.rows(from, rows));
        }
    }

    /** About half of n, in whole blocks, the larger part first: the scratch of a whole is then enough for its parts. */
    private static long middle(long n, long edge) {
        return Math.min(n, Math.ceilDiv(Math.ceilDiv(n, edge), 2) * edge);
    }

    private void copy(Tensor source, Tensor target) {
        Extent extent = Extent.byRows(source);
        context.kernel("move", "gather_rows").launch(extent.blocks(), THREADS, 0, source, source.stride(),
                source.rows(), null, target, target.stride(), source.dtype().bytes(), extent.columns());
    }

    private boolean wasSet(Tensor flag) {
        MemorySegment value = MemorySegment.ofArray(new int[1]);
        context.download(flag, value);
        return value.get(ValueLayout.JAVA_INT, 0) != 0;
    }
}
