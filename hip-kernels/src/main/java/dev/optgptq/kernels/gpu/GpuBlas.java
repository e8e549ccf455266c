package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.Tensor;

/**
 * The vendor's matmuls, rocBLAS or cuBLAS, on the context's stream. Where neither is found the context has none,
 * and the ops use their own kernel. Results do not vary from run to run.
 */
public interface GpuBlas extends AutoCloseable {

    /** The library and its version, for people. */
    String description();

    /**
     * c = alpha op(a) op(b) + beta c, op transposes where asked; beta 0 never reads c. a and b both F32, both F16 or both
     * BF16; c F32; sums in float32 (no TF32). Rows may be strided; shapes are the caller's to check. Runs asynchronously.
     */
    void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c);

    /** The same in float64: a, b and c F64. */
    void gemm64(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta, Tensor c);

    /**
     * The same as the first for a batch of matmuls in one call, operands at fixed strides.
     *
     * @param a of the first matmul; so are b and c
     */
    void gemmStrided(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c,
            Batch batch);

    /**
     * A batch of matmuls.
     *
     * @param strideA elements from one a to the next, 0 where all share it; so for b; the results lie apart
     */
    record Batch(int count, long strideA, long strideB, long strideC) {}

    @Override
    void close();
}
