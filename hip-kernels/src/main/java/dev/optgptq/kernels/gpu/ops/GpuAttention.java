package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/**
 * Attention on a GPU. F32 goes through one kernel on the plain units, which keeps scores in shared memory. Halves go through
 * one on the matrix units where that is right on the card, else through a library's products, else through the first.
 */
final class GpuAttention {

    private static final int THREADS = Extent.THREADS;
    /** Queries of a block of the kernel. */
    private static final int QUERIES = 64;
    private static final int MOST_HEAD_DIM = 256;

    private final GpuContext context;
    private final MatrixUnitAttention units;

    GpuAttention(GpuContext context) {
        this.context = context;
        this.units = new MatrixUnitAttention(context, this::kernel);
    }

    /** As NeuralOps.attention. */
    void run(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        GpuBlas blas = context.blas();
        if (q.dtype() == DType.F32) {
            kernel(q, k, v, slopes, shape, out);
        } else if (units.takes(q.dtype(), shape.headDim())) {
            units.run(q, k, v, slopes, shape, out);
        } else if (blas != null && q.rows() > 0 && context.trustsProducts(q.dtype())) {
            new AttentionProducts(context, blas, q, k, v, slopes, shape, out).run();
        } else {
            try (TensorArena arena = context.arena()) {
                kernel(widened(q, arena), widened(k, arena), widened(v, arena), slopes, shape, out);
            }
        }
    }

    /** Of F32, on the plain units. */
    void kernel(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        context.kernel("attention", "attention" + width(shape.headDim())).launchGrid(
                Math.ceilDiv(shape.sequenceLength(), QUERIES), shape.heads(), q.rows() / shape.sequenceLength(),
                THREADS, 0, q, q.stride(), k, k.stride(), v, v.stride(), slopes, out, out.stride(),
                shape.sequenceLength(), shape.heads(), shape.kvHeads(), shape.headDim(), shape.scale(),
                shape.window());
    }

    /** The smallest kernel that holds a head. */
    static int width(int headDim) {
        if (headDim > MOST_HEAD_DIM) {
            throw new IllegalArgumentException(
                    "attention: heads of up to " + MOST_HEAD_DIM + " elements, found " + headDim);
        }
        return headDim <= 64 ? 64 : headDim <= 128 ? 128 : MOST_HEAD_DIM;
    }

    private Tensor widened(Tensor halves, TensorArena arena) {
        Tensor widened = arena.matrix(DType.F32, halves.rows(), halves.columns());
        Conversion.run(context, halves, widened);
        return widened;
    }
}
