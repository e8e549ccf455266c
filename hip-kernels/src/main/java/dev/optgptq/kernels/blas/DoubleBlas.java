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

    private final MethodHandle dgemm;
    private final MethodHandle dsyevd;
    private final MethodHandle dposv;

    private DoubleBlas(OpenBlasLibrary library) {
        dgemm = bind(library, "cblas_dgemm", JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_DOUBLE,
                ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_DOUBLE, ADDRESS, JAVA_INT);
        dsyevd = bind(library, "dsyevd_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
                ADDRESS, ADDRESS, ADDRESS);
        dposv = bind(library, "dposv_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        try {
            bind(library, "openblas_set_num_threads", JAVA_INT).invokeExact(1);
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** Finds and loads the library. UserError DEVICE says what was tried and what to do. */
    public static DoubleBlas load() {
        return new DoubleBlas(OpenBlasLibrary.load(System::getenv));
    }

    /**
     * c = op(a) op(b): op(a) [m, k], op(b) [k, n], c [m, n].
     *
     * @param a stored [m, k], or [k, m] where it is transposed; b likewise
     */
    public void gemm(int m, int n, int k, MemorySegment a, boolean transposeA, MemorySegment b, boolean transposeB,
            MemorySegment c) {
        if (m == 0 || n == 0) {
            return;
        }
        try {
            dgemm.invokeExact(ROW_MAJOR, transposeA ? TRANSPOSE : NO_TRANSPOSE, transposeB ? TRANSPOSE : NO_TRANSPOSE,
                    m, n, k, 1.0, a, Math.max(1, transposeA ? m : k), b, Math.max(1, transposeB ? k : n), 0.0, c, n);
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
     * Solves a x = b for a symmetric positive definite a by Cholesky.
     *
     * @param a [n, n], both triangles; overwritten
     * @param b [columns, n]: one right-hand side per row; replaced by the solutions
     * @return false, with both undefined, where a is not positive definite
     */
    public boolean solvePositive(int n, int columns, MemorySegment a, MemorySegment b) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment sizes = ints(scratch, n, columns, 0);
            dposv.invokeExact(NativeCalls.letter(scratch, 'L'), sizes, sizes.asSlice(4), a, sizes, b, sizes,
                    sizes.asSlice(8));
            return sizes.get(JAVA_INT, 8) == 0;
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
