package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;

/** NeuralOps.klDivergence and GradientOps.klGradient on a GPU, a block of threads per row. */
final class GpuKlDivergence {

    private static final String SOURCE = "kl_divergence";

    private GpuKlDivergence() {}

    static void value(GpuContext context, Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        context.kernel(SOURCE, "kl_divergence").launch(teacher.rows(), Extent.THREADS, 0, teacher, teacher.stride(),
                student, student.stride(), teacher.columns(), kl, agrees);
    }

    static void gradient(GpuContext context, Tensor teacher, Tensor student, Tensor weights) {
        context.kernel(SOURCE, "kl_gradient").launch(teacher.rows(), Extent.THREADS, 0, teacher, teacher.stride(),
                student, student.stride(), teacher.columns(), weights);
    }
}
