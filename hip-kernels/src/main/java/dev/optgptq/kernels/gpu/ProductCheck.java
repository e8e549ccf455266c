package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Whether a matrix library can be trusted with a dtype: one small matmul of integers, which is exact in any order of
 * summing. Some GPUs are said to have bfloat16 matrix instructions that are wrong by a factor.
 */
final class ProductCheck {

    private static final int M = 64;
    private static final int N = 48;
    private static final int K = 96;

    private ProductCheck() {}

    static boolean passes(GpuContext context, GpuBlas blas, DType dtype) {
        try (TensorArena arena = context.arena(); Arena host = Arena.ofConfined()) {
            Tensor a = arena.matrix(dtype, K, M);
            Tensor b = arena.matrix(dtype, K, N);
            Tensor c = arena.matrix(DType.F32, M, N);
            upload(context, host, a);
            upload(context, host, b);
            // As for the Hessian: x^T x.
            blas.gemm(1, a, true, b, false, 0, c);
            MemorySegment result = host.allocate(c.memory().byteSize(), 4);
            context.download(c, result);
            for (int i = 0; i < M * N; i++) {
                if (result.getAtIndex(ValueLayout.JAVA_FLOAT, i) != expected(i / N, i % N)) {
                    return false;
                }
            }
            return true;
        }
    }

    private static float expected(int row, int column) {
        float sum = 0;
        for (int k = 0; k < K; k++) {
            sum += value((long) k * M + row) * value((long) k * N + column);
        }
        return sum;
    }

    /** Integers from -8 to 8, without a pattern that a wrong result could share. */
    private static float value(long index) {
        return (index * 7919 % 10007) % 17 - 8f;
    }

    private static void upload(GpuContext context, Arena host, Tensor target) {
        MemorySegment bytes = host.allocate(target.memory().byteSize(), 4);
        for (long i = 0; i < target.elements(); i++) {
            float value = value(i);
            switch (target.dtype()) {
                case F16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(value));
                case BF16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, i,
                        (short) (Float.floatToRawIntBits(value) >>> 16));
                default -> bytes.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
            }
        }
        context.upload(bytes, target);
    }
}
