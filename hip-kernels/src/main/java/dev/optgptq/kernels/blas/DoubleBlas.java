package dev.optgptq.kernels.blas;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.optgptq.formats.UserError;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.jspecify.annotations.Nullable;

/**
 * OpenBLAS in float64 on the host: matmuls, symmetric eigenproblems, positive definite systems. Matrices are
 * dense and row-major in off-heap memory, n and the other sizes below 2^31. One thread per call, so that bits do not depend
 * on the machine's load.
 */
public final class DoubleBlas {

    private static final int ROW_MAJOR = 101;
    private static final int NO_TRANSPOSE = 111;
    private static final int TRANSPOSE = 112;
    private static final int LOWER = 122;
    private static final int NON_UNIT = 131;
    private static final int LEFT = 141;
    private static final int RIGHT = 142;

    private final MethodHandle dgemm;
    private final MethodHandle dtrsm;
    private final MethodHandle dsyevd;
    private final MethodHandle dpotrf;

    private DoubleBlas(OpenBlasLibrary library) {
        dgemm = bind(library, "cblas_dgemm", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_DOUBLE,
                ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_DOUBLE, ADDRESS, JAVA_INT);
        dsyevd = bind(library, "dsyevd_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
                ADDRESS, ADDRESS, ADDRESS);
        dtrsm = bind(library, "cblas_dtrsm", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT,
                JAVA_DOUBLE, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT);
        dpotrf = bind(library, "dpotrf_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        try {
            bind(library, "openblas_set_num_threads", JAVA_INT).invokeExact(1);
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** Finds and loads the library. UserError DEVICE says what was tried and what to do. */
    public static DoubleBlas load() {
        return new DoubleBlas(OpenBlasLibrary.ofThisProcess());
    }

    /**
     * A matrix in memory.
     *
     * @param stride elements from one row to the next, at least its columns
     */
    public record Strided(MemorySegment memory, int stride) {

        /** From this element on. */
        public Strided at(long row, long column) {
            return new Strided(memory.asSlice((row * stride + column) * Double.BYTES), stride);
        }
    }

    /**
     * c = op(a) op(b): op(a) [m, k], op(b) [k, n], c [m, n].
     *
     * @param a stored [m, k], or [k, m] where it is transposed; b likewise
     */
    public void gemm(int m, int n, int k, MemorySegment a, boolean transposeA, MemorySegment b, boolean transposeB,
            MemorySegment c) {
        gemm(m, n, k, 1, new Strided(a, transposeA ? m : k), transposeA, new Strided(b, transposeB ? k : n), transposeB,
                0,
                new Strided(c, n));
    }

    /** c = alpha op(a) op(b) + beta c. */
    public void gemm(int m, int n, int k, double alpha, Strided a, boolean transposeA, Strided b, boolean transposeB,
            double beta, Strided c) {
        if (m == 0 || n == 0) {
            return;
        }
        try {
            dgemm.invokeExact(ROW_MAJOR, transposeA ? TRANSPOSE : NO_TRANSPOSE, transposeB ? TRANSPOSE : NO_TRANSPOSE,
                    m, n, k, alpha, a.memory(), Math.max(1, a.stride()), b.memory(), Math.max(1, b.stride()), beta,
                    c.memory(), c.stride());
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /**
     * All eigenvalues and eigenvectors of a symmetric matrix, by divide and conquer.
     *
     * @param a [n, n], both triangles; replaced by the eigenvectors, one per row
     * @param values [n], written in ascending order
     * @return whether it converged
     */
    public boolean eigen(int n, MemorySegment a, MemorySegment values) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment sizes = ints(scratch, n, 0, -1, -1);
            MemorySegment order = sizes;
            MemorySegment info = sizes.asSlice(4);
            MemorySegment work = scratch.allocate(JAVA_DOUBLE);
            MemorySegment integers = scratch.allocate(JAVA_INT);
            MemorySegment vectors = NativeCalls.letter(scratch, 'V');
            MemorySegment triangle = NativeCalls.letter(scratch, 'L');
            dsyevd.invokeExact(vectors, triangle, order, a, order, values, work, sizes.asSlice(8), integers,
                    sizes.asSlice(12), info);
            int reals = (int) work.get(JAVA_DOUBLE, 0);
            int wholes = integers.get(JAVA_INT, 0);
            MemorySegment lengths = ints(scratch, reals, wholes);
            dsyevd.invokeExact(vectors, triangle, order, a, order, values,
                    scratch.allocate(JAVA_DOUBLE, reals), lengths, scratch.allocate(JAVA_INT, wholes),
                    lengths.asSlice(4), info);
            return info.get(JAVA_INT, 0) == 0;
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /**
     * a = l l^T.
     *
     * @param a [n, n] symmetric, of which the lower triangle is read and replaced by l
     * @return false where it is not positive definite
     */
    public boolean cholesky(int n, Strided a) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment sizes = ints(scratch, n, a.stride(), 0);
            // The lower triangle by rows is the upper one by columns.
            dpotrf.invokeExact(NativeCalls.letter(scratch, 'U'), sizes, a.memory(), sizes.asSlice(4), sizes.asSlice(8));
            return sizes.get(JAVA_INT, 8) == 0;
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** b [m, n] = op(l)^-1 b, for a lower triangle l [m, m]. */
    public void solveLeft(int m, int n, Strided l, boolean transpose, Strided b) {
        triangular(LEFT, transpose, m, n, l, b);
    }

    /** b [m, n] = b (l^T)^-1, for a lower triangle l [n, n]. */
    public void solveRight(int m, int n, Strided l, Strided b) {
        triangular(RIGHT, true, m, n, l, b);
    }

    private void triangular(int side, boolean transpose, int m, int n, Strided l, Strided b) {
        if (m == 0 || n == 0) {
            return;
        }
        try {
            dtrsm.invokeExact(ROW_MAJOR, side, LOWER, transpose ? TRANSPOSE : NO_TRANSPOSE, NON_UNIT, m, n, 1.0,
                    l.memory(), l.stride(), b.memory(), b.stride());
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    private static MemorySegment ints(Arena arena, int... values) {
        return arena.allocateFrom(JAVA_INT, values);
    }

    private static MethodHandle bind(OpenBlasLibrary library, String name, MemoryLayout... arguments) {
        @Nullable
        MemorySegment symbol = library.symbols().find(name).orElse(null);
        if (symbol == null) {
            throw new UserError(UserError.Code.DEVICE,
                    "the OpenBLAS library (" + library.origin() + ") has no function " + name
                            + "; name a complete libopenblas 0.3 with " + OpenBlasLibrary.PATH_VARIABLE);
        }
        return Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.ofVoid(arguments));
    }
}
