package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;

/**
 * Attention in fp16/bf16 by our own kernel on the matrix units. The compiler tells whether a GPU has units that the
 * kernel supports; one small case on first use tells whether they compute right.
 */
final class MatrixUnitAttention {

    private static final String SOURCE = "attention_halves";
    private static final int WAVES = 4;
    /** Queries of a block. */
    private static final int QUERIES = 64;
    private static final int MOST_HEAD_DIM = 128;
    private static final int NARROW_HEAD_DIM = 64;
    /** Grouped heads of no round size, one for each kernel, rows that are not full, and two tiles of queries and keys. */
    private static final AttentionShape NARROW = new AttentionShape(75, 4, 2, 24, 0.2f, 0);
    private static final AttentionShape WIDE = new AttentionShape(75, 4, 2, 72, 0.2f, 0);
    /** Weights up to 1 are rounded to fp16/bf16: a few units in the last place of bfloat16. */
    private static final float TOLERANCE = 0x1p-6f;

    private final GpuContext context;
    private final Plain plain;
    private final TriedKernels<DType> tried;

    /** Attention of F32. */
    @FunctionalInterface
    interface Plain {
        void run(Attended attended);
    }

    /** @param plain the attention that the kernel must agree with */
    MatrixUnitAttention(GpuContext context, Plain plain) {
        this.context = context;
        this.plain = plain;
        this.tried = new TriedKernels<>(context, type -> "attention on the matrix units with " + type + " is");
    }

    /**
     * Whether it can be used for a call in fp16/bf16. It supports no caps, no sinks and no values of another width than
     * keys; longer heads leave too few registers.
     */
    boolean takes(Attended of) {
        AttentionShape shape = of.shape();
        return shape.softcap() == 0 && of.sinks() == null && shape.valueDim() == shape.headDim()
                && takes(of.q().dtype(), shape.headDim());
    }

    /** The same for a plain call in this dtype. */
    boolean takes(DType dtype, int headDim) {
        return headDim <= MOST_HEAD_DIM && context.hasMatrixUnits()
                && tried.areRight(dtype, () -> agrees(dtype, NARROW) && agrees(dtype, WIDE));
    }

    private boolean agrees(DType dtype, AttentionShape shape) {
        int width = shape.heads() * shape.headDim();
        int kvWidth = shape.kvHeads() * shape.headDim();
        try (TensorArena arena = context.arena()) {
            Agreement agreement = new Agreement(context);
            Tensor all = arena.matrix(DType.F32, shape.sequenceLength(), width + 2L * kvWidth);
            agreement.fill(all);
            Tensor halves = arena.matrix(dtype, all.rows(), all.columns());
            Conversion.run(context, all, halves);
            Conversion.run(context, halves, all);
            Tensor found = arena.matrix(DType.F32, all.rows(), width);
            Tensor expected = arena.matrix(DType.F32, all.rows(), width);
            run(new Attended(halves.columns(0, width), halves.columns(width, kvWidth),
                    halves.columns(width + kvWidth, kvWidth), null, shape, found));
            plain.run(new Attended(all.columns(0, width), all.columns(width, kvWidth),
                    all.columns(width + kvWidth, kvWidth), null, shape, expected));
            return agreement.isClose(found, expected, TOLERANCE);
        }
    }

    /** As NeuralOps.attention, in fp16/bf16. */
    void run(Attended of) {
        AttentionShape shape = of.shape();
        Tensor q = of.q();
        Tensor k = of.k();
        Tensor v = of.v();
        Tensor out = of.out();
        String type = q.dtype() == DType.F16 ? "f16" : "bf16";
        int width = shape.headDim() <= NARROW_HEAD_DIM ? NARROW_HEAD_DIM : MOST_HEAD_DIM;
        context.kernel(SOURCE, "attention_" + type + "_" + width).launchGrid(
                Math.ceilDiv(shape.sequenceLength(), QUERIES), shape.heads(), q.rows() / shape.sequenceLength(),
                WAVES * context.waveWidth(), 0, q, q.stride(), k, k.stride(), v, v.stride(), of.slopes(), out,
                out.stride(), shape.sequenceLength(), shape.heads(), shape.kvHeads(), shape.headDim(), shape.scale(),
                shape.window());
    }
}
