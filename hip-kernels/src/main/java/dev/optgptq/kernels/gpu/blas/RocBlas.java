package dev.optgptq.kernels.gpu.blas;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.ffm.NativeLibrary.Search;
import dev.optgptq.kernels.ffm.NativeLibrary;
import dev.optgptq.kernels.gpu.GpuBlas;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/** rocBLAS: rocblas_gemm_ex with float32 results and sums, or all in float64. Numbers as in rocblas-types.h. */
final class RocBlas implements GemmLibrary {

    private static final Search SEARCH = new Search("rocBLAS", new EnvironmentSetting("rocblas.lib"),
            List.of("librocblas.so.5", "librocblas.so.4", "librocblas.so.3", "librocblas.so.0", "librocblas.so",
                    "/opt/dtk/rocblas/lib/librocblas.so", "/opt/dtk/lib/librocblas.so",
                    "/opt/rocm/lib/librocblas.so"));

    private static final int NO_TRANSPOSE = 111;
    private static final int TRANSPOSE = 112;
    private static final int F16 = 150;
    private static final int F32 = 151;
    private static final int F64 = 152;
    private static final int BF16 = 168;
    private static final int STANDARD_ALGORITHM = 0;
    private static final int NO_ATOMICS = 0;

    private final NativeLibrary library;
    private final MethodHandle gemm;
    private final MethodHandle gemmStrided;
    private final MethodHandle status;
    private final long handle;
    private final String description;

    /** On the current device. UserError DEVICE when there is no library, it does not start, or it uses another HIP. */
    RocBlas(long stream) {
        library = NativeLibrary.load(SEARCH);
        HipRuntimes.requireOne(library.file());
        gemm = library.function("rocblas_gemm_ex", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT,
                JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS, JAVA_LONG,
                JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT);
        gemmStrided = library.function("rocblas_gemm_strided_batched_ex", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT,
                JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT,
                JAVA_INT, JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT,
                JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT);
        status = library.function("rocblas_status_to_string", ADDRESS, JAVA_INT);
        MethodHandle create = library.function("rocblas_create_handle", JAVA_INT, ADDRESS);
        MethodHandle setStream = library.function("rocblas_set_stream", JAVA_INT, JAVA_LONG, JAVA_LONG);
        MethodHandle setAtomics = library.function("rocblas_set_atomics_mode", JAVA_INT, JAVA_LONG, JAVA_INT);
        MethodHandle getVersion = library.function("rocblas_get_version_string", JAVA_INT, ADDRESS, JAVA_LONG);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("rocblas_create_handle", (int) create.invokeExact(out));
            handle = out.get(JAVA_LONG, 0);
            check("rocblas_set_stream", (int) setStream.invokeExact(handle, stream));
            // Sums by atomics come in any order: other bits on every run.
            check("rocblas_set_atomics_mode", (int) setAtomics.invokeExact(handle, NO_ATOMICS));
            MemorySegment text = arena.allocate(256);
            check("rocblas_get_version_string", (int) getVersion.invokeExact(text, text.byteSize()));
            description = "rocBLAS " + text.getString(0).replaceFirst("^(\\d+\\.\\d+\\.\\d+).*", "$1");
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public void gemm(Call call) {
        int type = type(call.input());
        int sums = call.input() == DType.F64 ? F64 : F32;
        try {
            check("rocblas_gemm_ex", (int) gemm.invokeExact(handle, operation(call.transposeA()),
                    operation(call.transposeB()), call.m(), call.n(), call.k(), call.alphaBeta(), call.a(), type,
                    call.lda(), call.b(), type, call.ldb(), call.beta(), call.c(), sums, call.ldc(),
                    call.c(), sums, call.ldc(), sums, STANDARD_ALGORITHM, 0, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void gemmStrided(Call call, GpuBlas.Batch batch) {
        int type = type(call.input());
        try {
            check("rocblas_gemm_strided_batched_ex", (int) gemmStrided.invokeExact(handle,
                    operation(call.transposeA()), operation(call.transposeB()), call.m(), call.n(), call.k(),
                    call.alphaBeta(), call.a(), type, call.lda(), batch.strideA(), call.b(), type, call.ldb(),
                    batch.strideB(), call.beta(), call.c(), F32, call.ldc(), batch.strideC(), call.c(),
                    F32, call.ldc(), batch.strideC(), batch.count(), F32, STANDARD_ALGORITHM, 0, 0));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case F64 -> F64;
            case F32 -> F32;
            case F16 -> F16;
            default -> BF16;
        };
    }

    private static int operation(boolean transpose) {
        return transpose ? TRANSPOSE : NO_TRANSPOSE;
    }

    private void check(String what, int code) {
        if (code != 0) {
            try {
                String meaning = NativeLibrary.text((MemorySegment) status.invokeExact(code));
                throw new UserError(UserError.Code.DEVICE, what + " failed with code " + code + ", " + meaning);
            } catch (Throwable e) {
                throw NativeLibrary.rethrown(e);
            }
        }
    }

    @Override
    public void close() {
        try {
            check("rocblas_destroy_handle",
                    (int) library.function("rocblas_destroy_handle", JAVA_INT, JAVA_LONG).invokeExact(handle));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
