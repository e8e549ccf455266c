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

/** cuBLAS: cublasGemmEx with float32 sums, never TF32, and with float64. Numbers as in cublas_api.h and library_types.h of 11 to 13. */
final class CuBlas implements GemmLibrary {

    private static final Search SEARCH = new Search("cuBLAS", new EnvironmentSetting("cublas.lib"),
            List.of("libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so",
                    "/usr/local/cuda/lib64/libcublas.so", "/usr/local/cuda/lib64/libcublas.so.13",
                    "/usr/local/cuda/lib64/libcublas.so.12"));

    private static final int NO_TRANSPOSE = 0;
    private static final int TRANSPOSE = 1;
    private static final int REAL_32F = 0;
    private static final int REAL_64F = 1;
    private static final int REAL_16F = 2;
    private static final int REAL_16BF = 14;
    private static final int COMPUTE_32F = 68;
    private static final int COMPUTE_64F = 70;
    private static final int DEFAULT_ALGORITHM = -1;

    private final NativeLibrary library;
    private final MethodHandle gemm;
    private final MethodHandle gemmStrided;
    private final MethodHandle status;
    private final long handle;
    private final String description;

    /** On the current device. UserError DEVICE when there is no library, or it does not start. */
    CuBlas(long stream) {
        library = NativeLibrary.load(SEARCH);
        gemm = library.function("cublasGemmEx", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT,
                ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT,
                JAVA_INT, JAVA_INT, JAVA_INT);
        gemmStrided = library.function("cublasGemmStridedBatchedEx", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT,
                JAVA_INT, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT,
                JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT);
        status = library.function("cublasGetStatusString", ADDRESS, JAVA_INT);
        MethodHandle create = library.function("cublasCreate_v2", JAVA_INT, ADDRESS);
        MethodHandle setStream = library.function("cublasSetStream_v2", JAVA_INT, JAVA_LONG, JAVA_LONG);
        MethodHandle getVersion = library.function("cublasGetVersion_v2", JAVA_INT, JAVA_LONG, ADDRESS);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("cublasCreate", (int) create.invokeExact(out));
            handle = out.get(JAVA_LONG, 0);
            check("cublasSetStream", (int) setStream.invokeExact(handle, stream));
            check("cublasGetVersion", (int) getVersion.invokeExact(handle, out));
            int number = out.get(JAVA_INT, 0);
            // 120103 is 12.1.3; 11 wrote 11403.
            int base = number >= 100_000 ? 10_000 : 1_000;
            description = "cuBLAS " + number / base + "." + number % base / 100;
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
        boolean double64 = call.input() == DType.F64;
        try {
            check("cublasGemmEx", (int) gemm.invokeExact(handle, operation(call.transposeA()),
                    operation(call.transposeB()), call.m(), call.n(), call.k(), call.alphaBeta(), call.a(), type,
                    call.lda(), call.b(), type, call.ldb(), call.beta(), call.c(), double64 ? REAL_64F : REAL_32F,
                    call.ldc(), double64 ? COMPUTE_64F : COMPUTE_32F, DEFAULT_ALGORITHM));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    @Override
    public void gemmStrided(Call call, GpuBlas.Batch batch) {
        int type = type(call.input());
        try {
            check("cublasGemmStridedBatchedEx", (int) gemmStrided.invokeExact(handle, operation(call.transposeA()),
                    operation(call.transposeB()), call.m(), call.n(), call.k(), call.alphaBeta(), call.a(), type,
                    call.lda(), batch.strideA(), call.b(), type, call.ldb(), batch.strideB(),
                    call.beta(), call.c(), REAL_32F, call.ldc(), batch.strideC(), batch.count(),
                    COMPUTE_32F, DEFAULT_ALGORITHM));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private static int operation(boolean transpose) {
        return transpose ? TRANSPOSE : NO_TRANSPOSE;
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case F64 -> REAL_64F;
            case F32 -> REAL_32F;
            case F16 -> REAL_16F;
            default -> REAL_16BF;
        };
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
            check("cublasDestroy",
                    (int) library.function("cublasDestroy_v2", JAVA_INT, JAVA_LONG).invokeExact(handle));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
