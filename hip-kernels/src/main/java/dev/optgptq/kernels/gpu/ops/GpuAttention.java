package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;

/**
 * Attention on a GPU. F32 goes through one kernel on the plain units, which keeps scores in shared memory; long sequences go through
 * a library's matmuls, which pass scores through memory and are still several times as fast. fp16/bf16
 * goes through one on the matrix units if that is right on the GPU and supports the call, else through a library's
 * matmuls, else through the first.
 */
final class GpuAttention {

    private static final int THREADS = Extent.THREADS;
    /** Queries of a block of the kernel. */
    private static final int QUERIES = 64;
    private static final int MOST_HEAD_DIM = 256;
    /** Tokens of a sequence from which matmuls of a library are of a size that they are good at. */
    private static final int LONG = 512;

    private final GpuContext context;
    private final MatrixUnitAttention units;

    GpuAttention(GpuContext context) {
        this.context = context;
        this.units = new MatrixUnitAttention(context, this::kernel);
    }

    /** As NeuralOps.attention. */
    void run(Attended of) {
        GpuBlas blas = context.blas();
        if (of.q().dtype() == DType.F32) {
            if (blas != null && of.q().rows() > 0 && of.shape().sequenceLength() >= LONG) {
                new AttentionProducts(context, blas, of).run();
            } else {
                kernel(of);
            }
        } else if (units.takes(of)) {
            units.run(of);
        } else if (blas != null && of.q().rows() > 0 && context.trustsProducts(of.q().dtype())) {
            new AttentionProducts(context, blas, of).run();
        } else {
            try (TensorArena arena = context.arena()) {
                kernel(new Attended(Conversion.widened(context, of.q(), arena),
                        Conversion.widened(context, of.k(), arena), Conversion.widened(context, of.v(), arena),
                        of.slopes(), of.sinks(), of.shape(), of.out()));
            }
        }
    }

    /** Of F32, on the plain units. */
    void kernel(Attended of) {
        AttentionShape shape = of.shape();
        Tensor q = of.q();
        Tensor k = of.k();
        Tensor v = of.v();
        Tensor out = of.out();
        context.kernel("attention", "attention" + width(shape.valueDim())).launchGrid(
                Math.ceilDiv(shape.sequenceLength(), QUERIES), shape.heads(), q.rows() / shape.sequenceLength(),
                THREADS, 0, q, q.stride(), k, k.stride(), v, v.stride(), of.slopes(), of.sinks(), out, out.stride(),
                shape.sequenceLength(), shape.heads(), shape.kvHeads(), shape.headDim(), shape.valueDim(),
                shape.scale(), inCaps(shape), shape.window());
    }

    /** The score of a product of 1 in units of the cap, as in attention_shape.h; 0 if scores are not capped. */
    static float inCaps(AttentionShape shape) {
        return shape.softcap() == 0 ? 0 : shape.scale() / shape.softcap();
    }

    /** The smallest kernel that holds a head. */
    static int width(int headDim) {
        if (headDim > MOST_HEAD_DIM) {
            throw new IllegalArgumentException(
                    "attention: heads of up to " + MOST_HEAD_DIM + " elements, found " + headDim);
        }
        return headDim <= 64 ? 64 : headDim <= 128 ? 128 : MOST_HEAD_DIM;
    }
}
