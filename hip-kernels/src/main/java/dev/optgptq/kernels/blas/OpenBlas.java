package dev.optgptq.kernels.blas;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.jspecify.annotations.Nullable;

/**
 * The functions of OpenBLAS that the cpu device uses, on row-major F32 tensors in off-heap memory. Each call computes on
 * the calling thread alone, so that the work can be split in tiles that do not depend on the number of threads; calls
 * from several threads at once are safe. Shapes are checked here, before native code sees an address.
 */
public final class OpenBlas {

    private static final int ROW_MAJOR = 101;
    private static final int NO_TRANSPOSE = 111;
    private static final int TRANSPOSE = 112;
    private static final int UPPER = 121;
    private static final int LOWER = 122;
    private static final int NON_UNIT = 131;
    private static final int LEFT = 141;
    private static final int RIGHT = 142;

    private final String description;
    private final MethodHandle sgemm;
    private final MethodHandle ssyrk;
    private final MethodHandle strsm;
    private final MethodHandle strmm;
    private final MethodHandle spotrf;
    private final MethodHandle strtri;

    private OpenBlas(OpenBlasLibrary library) {
        sgemm = bind(library, "cblas_sgemm", null, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT,
                JAVA_FLOAT, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, JAVA_FLOAT, ADDRESS, JAVA_INT);
        ssyrk = bind(library, "cblas_ssyrk", null, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_FLOAT,
                ADDRESS, JAVA_INT, JAVA_FLOAT, ADDRESS, JAVA_INT);
        strsm = bindTriangular(library, "cblas_strsm");
        strmm = bindTriangular(library, "cblas_strmm");
        // The Fortran symbols: not every distribution builds the C ones of LAPACK into this library.
        spotrf = bind(library, "spotrf_", null, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        strtri = bind(library, "strtri_", null, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        MethodHandle setThreads = bind(library, "openblas_set_num_threads", null, JAVA_INT);
        MethodHandle config = bind(library, "openblas_get_config", ADDRESS);
        MethodHandle core = bind(library, "openblas_get_corename", ADDRESS);
        try {
            setThreads.invokeExact(1);
            String version = text((MemorySegment) config.invokeExact()).replaceFirst("^(OpenBLAS \\S+).*", "$1");
            description = version + " (" + text((MemorySegment) core.invokeExact()) + "; " + library.origin() + ")";
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** Finds and loads the library. UserError DEVICE says what was tried and what to do. */
    public static OpenBlas load() {
        return new OpenBlas(OpenBlasLibrary.ofThisProcess());
    }

    /** Version, the CPU type of its kernels, and where it came from. */
    public String description() {
        return description;
    }

    /** c = alpha op(a) op(b) + beta c. */
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        long inner = transposeA ? a.rows() : a.columns();
        require(c.rows() == (transposeA ? a.columns() : a.rows())
                && c.columns() == (transposeB ? b.rows() : b.columns())
                && inner == (transposeB ? b.columns() : b.rows()), a, b, c);
        if (c.elements() == 0) {
            return;
        }
        try {
            sgemm.invokeExact(ROW_MAJOR, transposeA ? TRANSPOSE : NO_TRANSPOSE, transposeB ? TRANSPOSE : NO_TRANSPOSE,
                    size(c.rows()), size(c.columns()), size(inner), alpha, address(a), leading(a), address(b),
                    leading(b), beta, address(c), leading(c));
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** The upper triangle of c += alpha x^T x; the strict lower one is not touched. */
    public void gramUpper(float alpha, Tensor x, Tensor c) {
        require(c.rows() == c.columns() && c.rows() == x.columns(), x, c);
        if (c.elements() == 0) {
            return;
        }
        try {
            ssyrk.invokeExact(ROW_MAJOR, UPPER, TRANSPOSE, size(c.rows()), size(x.rows()), alpha, address(x),
                    leading(x), 1f, address(c), leading(c));
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** The lower triangle of c -= x x^T; the strict upper one is not touched. */
    public void subtractGramLower(Tensor x, Tensor c) {
        require(c.rows() == c.columns() && c.rows() == x.rows(), x, c);
        if (c.elements() == 0) {
            return;
        }
        try {
            ssyrk.invokeExact(ROW_MAJOR, LOWER, NO_TRANSPOSE, size(c.rows()), size(x.columns()), -1f, address(x),
                    leading(x), 1f, address(c), leading(c));
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** b = b l^-T with l lower triangular. */
    public void solveRightTransposed(Tensor l, Tensor b) {
        require(l.rows() == l.columns() && b.columns() == l.rows(), l, b);
        triangular(strsm, RIGHT, TRANSPOSE, 1f, l, b);
    }

    /** b = alpha l b with l lower triangular. */
    public void multiplyLeft(float alpha, Tensor l, Tensor b) {
        require(l.rows() == l.columns() && b.rows() == l.rows(), l, b);
        triangular(strmm, LEFT, NO_TRANSPOSE, alpha, l, b);
    }

    private static void triangular(MethodHandle function, int side, int transpose, float alpha, Tensor l, Tensor b) {
        if (b.elements() == 0) {
            return;
        }
        try {
            function.invokeExact(ROW_MAJOR, side, LOWER, transpose, NON_UNIT, size(b.rows()), size(b.columns()), alpha,
                    address(l), leading(l), address(b), leading(b));
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /**
     * Cholesky, in place in the lower triangle: a = l l^T; the strict upper one is not touched. False, with a undefined,
     * when a is not positive definite.
     */
    public boolean choleskyLower(Tensor a) {
        require(a.rows() == a.columns(), a);
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment info = scratch.allocateFrom(JAVA_INT, 0);
            // LAPACK is column-major, where our lower triangle is the upper one of the same matrix.
            spotrf.invokeExact(NativeCalls.letter(scratch, 'U'), scratch.allocateFrom(JAVA_INT, size(a.rows())),
                    address(a),
                    scratch.allocateFrom(JAVA_INT, leading(a)), info);
            return info.get(JAVA_INT, 0) == 0;
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** Inverts a lower triangular matrix in place; the strict upper triangle is not touched. False when it is singular. */
    public boolean invertLower(Tensor l) {
        require(l.rows() == l.columns(), l);
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment info = scratch.allocateFrom(JAVA_INT, 0);
            strtri.invokeExact(NativeCalls.letter(scratch, 'U'), NativeCalls.letter(scratch, 'N'),
                    scratch.allocateFrom(JAVA_INT, size(l.rows())), address(l),
                    scratch.allocateFrom(JAVA_INT, leading(l)), info);
            return info.get(JAVA_INT, 0) == 0;
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    private static MethodHandle bindTriangular(OpenBlasLibrary library, String name) {
        return bind(library, name, null, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT,
                JAVA_FLOAT, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT);
    }

    private static MethodHandle bind(OpenBlasLibrary library, String name, @Nullable MemoryLayout result,
            MemoryLayout... arguments) {
        MemorySegment symbol = library.symbols().find(name)
                .orElseThrow(() -> new UserError(UserError.Code.DEVICE,
                        "the OpenBLAS library (" + library.origin() + ") has no function " + name
                                + "; name a complete libopenblas 0.3 with " + OpenBlasLibrary.PATH_VARIABLE));
        FunctionDescriptor type = result == null
                ? FunctionDescriptor.ofVoid(arguments)
                : FunctionDescriptor.of(result, arguments);
        return Linker.nativeLinker().downcallHandle(symbol, type);
    }

    private static void require(boolean condition, Tensor... operands) {
        if (!condition) {
            throw new IllegalArgumentException("shapes do not fit: " + java.util.Arrays.toString(operands));
        }
    }

    /** BLAS has 32-bit sizes. */
    private static int size(long elements) {
        return Math.toIntExact(elements);
    }

    /** The leading dimension, which BLAS wants to be at least 1 and at least the columns. */
    private static int leading(Tensor tensor) {
        return Math.toIntExact(Math.max(1, tensor.stride()));
    }

    private static MemorySegment address(Tensor tensor) {
        if (!tensor.memory().isNative()) {
            throw new IllegalArgumentException("native code takes off-heap memory only");
        }
        return tensor.memory();
    }

    private static String text(MemorySegment string) {
        return string.reinterpret(256).getString(0);
    }
}
