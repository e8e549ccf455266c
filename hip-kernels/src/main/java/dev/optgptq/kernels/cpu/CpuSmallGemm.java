package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.cpu.loops.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * Small matmuls in float64, rounded once. At this size the time goes into the call, and a tiny model shows rounding most:
 * with sums in float32 the gradient of a deltanet's decay, which cancels over the tokens, differs by 4e-4 of its largest entry
 * from one of OpenBLAS's kernels to the next.
 */
record CpuSmallGemm(DoubleBlas blas) {

    private static final long MULTIPLICATIONS = 1 << 19;

    /** Whether op(a) [m, k] times op(b) [k, n] is small, and its elements are used often enough to be widened. */
    static boolean takes(long m, long n, long k) {
        return Math.max(m, Math.max(n, k)) <= MULTIPLICATIONS && m * n * k <= MULTIPLICATIONS
                && 2 * (m * k + n * k + m * n) <= m * n * k;
    }

    /**
     * c = alpha op(a) op(b) + bias + beta c.
     *
     * @param bias F32 [1, n]
     */
    void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta,
            @Nullable Tensor bias, Tensor c) {
        int columns = (int) c.columns();
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment product = scratch.allocate(ValueLayout.JAVA_DOUBLE, c.elements());
            blas.gemm((int) c.rows(), columns, (int) (transposeA ? a.rows() : a.columns()), widened(a, scratch),
                    transposeA, widened(b, scratch), transposeB, product);
            for (int r = 0; r < c.rows(); r++) {
                long at = Memory.row(c, r);
                for (int i = 0; i < columns; i++) {
                    double sum = alpha * product.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) r * columns + i);
                    sum += bias == null ? 0 : bias.memory().get(Memory.FLOAT, 4L * i);
                    if (beta != 0) {
                        // Rounded as c is: two equal products have the difference 0.
                        sum = (float) sum + (double) beta * c.memory().get(Memory.FLOAT, at + 4L * i);
                    }
                    c.memory().set(Memory.FLOAT, at + 4L * i, (float) sum);
                }
            }
        }
    }

    private static MemorySegment widened(Tensor matrix, Arena arena) {
        int columns = (int) matrix.columns();
        MemorySegment wide = arena.allocate(ValueLayout.JAVA_DOUBLE, matrix.elements());
        for (int r = 0; r < matrix.rows(); r++) {
            long at = Memory.row(matrix, r);
            for (int i = 0; i < columns; i++) {
                wide.setAtIndex(ValueLayout.JAVA_DOUBLE, (long) r * columns + i,
                        matrix.memory().get(Memory.FLOAT, at + 4L * i));
            }
        }
        return wide;
    }
}
