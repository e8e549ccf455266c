package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;

/** The kernel of NeuralOps.convert, for ops that need it internally. */
final class Conversion {

    private Conversion() {}

    /** Rounds or widens a float tensor into another of its shape. */
    static void run(GpuContext context, Tensor source, Tensor target) {
        Extent extent = Extent.of(source, target);
        context.kernel("convert", "convert").launch(extent.blocks(), Extent.THREADS, 0, source,
                Extent.code(source.dtype()), source.stride(), target, Extent.code(target.dtype()), target.stride(),
                extent.columns());
    }

    /** The same in float32; the arena owns it. */
    static Tensor widened(GpuContext context, Tensor halves, TensorArena arena) {
        Tensor widened = arena.matrix(DType.F32, halves.rows(), halves.columns());
        run(context, halves, widened);
        return widened;
    }
}
