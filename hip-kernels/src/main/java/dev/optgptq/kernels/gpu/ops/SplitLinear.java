package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import java.util.List;
import java.util.Objects;

/**
 * y = x w^T + beta y of F32 x and fp16/bf16 w on the matrix units: the 24 bits of a float32 are three bfloat16 of 8 bits, the 11 of a
 * float16 two, so that x is exactly a sum of three matrices and w one or two, and every product of parts is exact (Henry, Tang and
 * Heinecke 2019, arXiv 1904.06376). Three or six matmuls of bfloat16 cost a fraction of one of float32.
 */
record SplitLinear(GpuContext context) {

    static boolean takes(GpuContext context, Tensor x, Tensor y) {
        return context.blas() != null && x.elements() > 0 && y.elements() > 0 && context.trustsProducts(DType.BF16);
    }

    void run(Tensor x, Tensor w, float beta, Tensor y) {
        GpuBlas blas = Objects.requireNonNull(context.blas());
        try (TensorArena arena = context.arena()) {
            SplitParts parts = new SplitParts(context);
            List<Tensor> inputs = parts.of(x, SplitParts.OF_FLOAT32, arena);
            List<Tensor> weights = w.dtype() == DType.BF16 ? List.of(w) : parts.of(w, SplitParts.OF_FLOAT16, arena);
            float kept = beta;
            // The smallest first: their sum does not drown in the largest.
            for (Tensor weight : weights) {
                for (Tensor input : inputs) {
                    blas.gemm(1, input, false, weight, true, kept, y);
                    kept = 1;
                }
            }
        }
    }
}
