package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.Float64Ops;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Solves a x = b in float64 by a = l l^T, all by bisection, so that nearly everything is large matmuls: of [a11, .; a21, a22] the
 * factors are l11, l21 = a21 l11^-T, and that of a22 - l21 l21^T. Diagonal blocks are factored and inverted by one block of
 * threads each.
 */
final class GpuSystem {

    /** Edge of a diagonal block. */
    private static final long BLOCK = 64;
    /** Edge of a square of which both triangles are computed. */
    private static final long SQUARE = 512;
    private static final int THREADS = Extent.THREADS;

    private final GpuContext context;
    private final Float64Ops ops;

    /** @param ops whose matmuls are used */
    GpuSystem(GpuContext context, Float64Ops ops) {
        this.context = context;
        this.ops = ops;
    }

    /** As Float64Ops.solve. */
    boolean solve(Tensor a, Tensor b) {
        long n = a.rows();
        if (n == 0) {
            return true;
        }
        try (TensorArena arena = context.arena()) {
            Tensor failed = arena.vector(DType.I32, 1);
            context.kernel("move", "fill").launch(1, THREADS, 0, failed, 1L, 0, 0f, 1L);
            Factor factor = new Factor(a, arena.matrix(DType.F64, n, Math.min(n, BLOCK)), failed,
                    arena.matrix(DType.F64, n, Math.min(n, BLOCK)),
                    arena.matrix(DType.F64, Math.min(n, BLOCK), b.columns()));
            factor.factor(0, n);
            MemorySegment flag = MemorySegment.ofArray(new int[1]);
            context.download(failed, flag);
            if (flag.get(ValueLayout.JAVA_INT, 0) != 0) {
                return false;
            }
            if (b.columns() > 0) {
                factor.solveLeft(0, n, false, b);
                factor.solveLeft(0, n, true, b);
            }
            return true;
        }
    }

    /** About half of n, in whole blocks. */
    private static long middle(long n) {
        return Math.ceilDiv(Math.ceilDiv(n, BLOCK), 2) * BLOCK;
    }

    /** The factor in the place of a. Parts of it are named by their first row and their size. */
    private final class Factor {
        private final Tensor a;
        private final Tensor inverses;
        private final Tensor failed;
        private final Tensor tall;
        private final Tensor wide;

        /**
         * Of a, yet to be factored.
         *
         * @param inverses of its diagonal blocks, one under the other
         * @param tall scratch of a column of blocks
         * @param wide scratch of a row of blocks of the right-hand sides
         */
        private Factor(Tensor a, Tensor inverses, Tensor failed, Tensor tall, Tensor wide) {
            this.a = a;
            this.inverses = inverses;
            this.failed = failed;
            this.tall = tall;
            this.wide = wide;
        }

        private Tensor part(long row, long rows, long column, long columns) {
            return a.rows(row, rows).columns(column, columns);
        }

        private Tensor inverse(long from, long n) {
            return inverses.rows(from, n).columns(0, n);
        }

        private void factor(long from, long n) {
            if (n <= BLOCK) {
                Tensor pivot = part(from, n, from, n);
                Tensor inverse = inverse(from, n);
                context.kernel("cholesky64", "factor_block").launch(1, THREADS, 0, pivot, pivot.stride(), inverse,
                        inverse.stride(), (int) n, failed);
                return;
            }
            long half = middle(n);
            Tensor below = part(from + half, n - half, from, half);
            factor(from, half);
            solveRight(from, half, below);
            subtractSquare(below, part(from + half, n - half, from + half, n - half));
            factor(from + half, n - half);
        }

        /** b = b l^-T. */
        private void solveRight(long from, long n, Tensor b) {
            if (n <= BLOCK) {
                Tensor before = tall.rows(0, b.rows()).columns(0, n);
                copy(b, before);
                ops.multiply(1, before, false, inverse(from, n), true, 0, b);
                return;
            }
            long half = middle(n);
            Tensor second = b.columns(half, n - half);
            solveRight(from, half, b.columns(0, half));
            ops.multiply(-1, b.columns(0, half), false, part(from + half, n - half, from, half), true, 1, second);
            solveRight(from + half, n - half, second);
        }

        /** c -= x x^T, at least on and below the diagonal. */
        private void subtractSquare(Tensor x, Tensor c) {
            long n = c.rows();
            if (n <= SQUARE) {
                ops.multiply(-1, x, false, x, true, 1, c);
                return;
            }
            long half = middle(n);
            Tensor top = x.rows(0, half);
            Tensor bottom = x.rows(half, n - half);
            subtractSquare(top, c.rows(0, half).columns(0, half));
            ops.multiply(-1, bottom, false, top, true, 1, c.rows(half, n - half).columns(0, half));
            subtractSquare(bottom, c.rows(half, n - half).columns(half, n - half));
        }

        /** b = l^-1 b, or l^-T b. */
        private void solveLeft(long from, long n, boolean transpose, Tensor b) {
            if (n <= BLOCK) {
                Tensor before = wide.rows(0, n);
                copy(b, before);
                ops.multiply(1, inverse(from, n), transpose, before, false, 0, b);
                return;
            }
            long half = middle(n);
            Tensor first = b.rows(0, half);
            Tensor second = b.rows(half, n - half);
            Tensor below = part(from + half, n - half, from, half);
            if (transpose) {
                solveLeft(from + half, n - half, true, second);
                ops.multiply(-1, below, true, second, false, 1, first);
                solveLeft(from, half, true, first);
            } else {
                solveLeft(from, half, false, first);
                ops.multiply(-1, below, false, first, false, 1, second);
                solveLeft(from + half, n - half, false, second);
            }
        }
    }

    private void copy(Tensor source, Tensor target) {
        Extent extent = Extent.of(source, target);
        context.kernel("move", "gather_rows").launch(extent.blocks(), THREADS, 0, source, source.stride(),
                source.rows(), null, target, target.stride(), source.dtype().bytes(), extent.columns());
    }
}
