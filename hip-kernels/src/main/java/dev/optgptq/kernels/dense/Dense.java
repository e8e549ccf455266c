package dev.optgptq.kernels.dense;

import com.google.errorprone.annotations.MustBeClosed;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.blas.DoubleBlas.Strided;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;

/**
 * Matmuls and eigenproblems of float64 matrices on the host, on several threads. Each result depends only on its
 * arguments, not on how many threads there are: what one computes at a time is fixed by the shapes. Safe for use by several threads.
 */
public final class Dense implements AutoCloseable {

    /** Rows of a result that one thread computes. */
    private static final int PANEL = 256;
    /** Multiplications below which one thread is as quick. */
    private static final long SMALL = 1L << 22;

    private final DoubleBlas blas;
    private final Workers workers;

    private Dense(DoubleBlas blas, Workers workers) {
        this.blas = blas;
        this.workers = workers;
    }

    /** With threads of its own. UserError DEVICE where OpenBLAS cannot be loaded. */
    public static Dense open(int threads) {
        return new Dense(DoubleBlas.load(), new Workers(threads));
    }

    /** a b. */
    public Matrix multiply(Matrix a, Matrix b) {
        return product(a, false, b, false);
    }

    /** a^T b. */
    public Matrix transposedMultiply(Matrix a, Matrix b) {
        return product(a, true, b, false);
    }

    /** a b^T. */
    public Matrix multiplyTransposed(Matrix a, Matrix b) {
        return product(a, false, b, true);
    }

    /** a m a^T, made symmetric to the bit: m symmetric. */
    public Matrix congruence(Matrix a, Matrix m) {
        return multiplyTransposed(multiply(a, m), a).symmetrized();
    }

    private Matrix product(Matrix a, boolean transposeA, Matrix b, boolean transposeB) {
        int m = transposeA ? a.columns() : a.rows();
        int k = transposeA ? a.rows() : a.columns();
        int n = transposeB ? b.rows() : b.columns();
        if (k != (transposeB ? b.columns() : b.rows())) {
            throw new IllegalArgumentException("shapes do not fit: " + a + " and " + b);
        }
        int panel = (long) m * n * k < SMALL ? Math.max(1, m) : PANEL;
        try (Arena arena = arena(m > panel)) {
            Strided result = new Strided(arena.allocate(ValueLayout.JAVA_DOUBLE, Math.max(1, (long) m * n)), n);
            Strided left = new Strided(copy(arena, a), a.columns());
            Strided right = new Strided(copy(arena, b), b.columns());
            workers.inParts(m, panel, row -> blas.gemm(Math.min(panel, m - row), n, k, 1,
                    transposeA ? left.at(0, row) : left.at(row, 0), transposeA, right, transposeB, 0,
                    result.at(row, 0)));
            return read(result.memory(), m, n);
        }
    }

    @MustBeClosed
    private static Arena arena(boolean shared) {
        return shared ? Arena.ofShared() : Arena.ofConfined();
    }

    /** What is computed beside each other, in its order. */
    public <T> List<T> each(int count, IntFunction<T> of) {
        return workers.each(count, of);
    }

    /**
     * The eigenvalues of a symmetric matrix, ascending, and its eigenvectors in the columns of vectors, in that order.
     * Their signs are settled: the largest element of each is positive.
     */
    public record Eigen(double[] values, Matrix vectors) {

        /** The count largest eigenvalues' vectors, [n, count]. */
        public Matrix top(int count) {
            return vectors.columns(vectors.columns() - count, count);
        }

        /** What share of the sum of all eigenvalues lies outside the count largest; 0 where that sum is 0. */
        public double residual(int count) {
            double all = Arrays.stream(values).sum();
            double left = Arrays.stream(values, 0, values.length - count).sum();
            return all > 0 ? Math.max(0, left / all) : 0;
        }
    }

    /** Eigenvalues and -vectors of a symmetric matrix. UserError NUMERIC where it is not finite. */
    public Eigen eigen(Matrix symmetric) {
        int n = symmetric.rows();
        if (n != symmetric.columns()) {
            throw new IllegalArgumentException("not square: " + symmetric);
        }
        if (Arrays.stream(symmetric.values()).anyMatch(value -> !Double.isFinite(value))) {
            throw new UserError(UserError.Code.NUMERIC,
                    "a matrix of moments is not finite; the weights overflow float32, or were damaged");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment vectors = copy(arena, symmetric);
            MemorySegment values = arena.allocate(ValueLayout.JAVA_DOUBLE, Math.max(1, n));
            if (n > 0 && !blas.eigen(n, vectors, values)) {
                throw new IllegalStateException("an eigenproblem of order " + n + " did not converge");
            }
            return new Eigen(values.asSlice(0, (long) Double.BYTES * n).toArray(ValueLayout.JAVA_DOUBLE),
                    settled(read(vectors, n, n)).transposed());
        }
    }

    /** Rows, each turned so that its largest element is positive. */
    private static Matrix settled(Matrix rows) {
        double[] signs = new double[rows.rows()];
        for (int i = 0; i < signs.length; i++) {
            double largest = 0;
            for (int j = 0; j < rows.columns(); j++) {
                largest = Math.abs(rows.at(i, j)) > Math.abs(largest) ? rows.at(i, j) : largest;
            }
            signs[i] = largest < 0 ? -1 : 1;
        }
        return Matrix.generate(rows.rows(), rows.columns(), (i, j) -> signs[i] * rows.at(i, j));
    }

    /** The symmetric square root of a positive semidefinite matrix, and its inverse. */
    public record Root(Matrix root, Matrix inverse) {}

    /**
     * m^(1/2) and m^(-1/2).
     *
     * @param floor eigenvalues below this share of their mean count as that
     */
    public Root root(Matrix m, double floor) {
        Eigen eigen = eigen(m.symmetrized());
        double mean = Arrays.stream(eigen.values()).average().orElse(0);
        double least = mean > 0 ? floor * mean : 1;
        double[] roots = Arrays.stream(eigen.values()).map(value -> Math.sqrt(Math.max(value, least))).toArray();
        double[] inverses = Arrays.stream(roots).map(value -> 1 / value).toArray();
        return new Root(multiplyTransposed(eigen.vectors().scaleColumns(roots), eigen.vectors()).symmetrized(),
                multiplyTransposed(eigen.vectors().scaleColumns(inverses), eigen.vectors()).symmetrized());
    }

    @Override
    public void close() {
        workers.close();
    }

    private static MemorySegment copy(Arena arena, Matrix matrix) {
        return matrix.values().length == 0
                ? arena.allocate(ValueLayout.JAVA_DOUBLE)
                : arena.allocateFrom(ValueLayout.JAVA_DOUBLE, matrix.values());
    }

    private static Matrix read(MemorySegment memory, int rows, int columns) {
        return new Matrix(rows, columns,
                memory.asSlice(0, (long) Double.BYTES * rows * columns).toArray(ValueLayout.JAVA_DOUBLE));
    }
}
