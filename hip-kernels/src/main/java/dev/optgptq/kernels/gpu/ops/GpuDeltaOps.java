package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.DeltaOps;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** DeltaOps on a GPU, the same bits every time. */
public final class GpuDeltaOps implements DeltaOps {

    private static final int THREADS = Extent.THREADS;
    /** Columns of the state of a block, as delta.hip has it. */
    private static final int COLUMNS = 32;
    /** Memory limit of the states kept for the gradient; those of one sequence are always kept. */
    private static final long STATE_BYTES = 512L << 20;

    private final GpuContext context;
    private final GpuGradientOps sums;

    public GpuDeltaOps(GpuContext context) {
        this.context = context;
        this.sums = new GpuGradientOps(context);
    }

    private Kernel inputs(String function) {
        return context.kernel("delta_inputs", function);
    }

    @Override
    public void causalConvolution(Tensor x, Tensor weight, @Nullable Tensor bias, int sequenceLength, Tensor out) {
        Extent extent = Extent.byRows(x);
        inputs("causal_convolution").launch(extent.blocks(), THREADS, 0, x, x.stride(), weight, weight.stride(),
                (int) weight.columns(), bias, sequenceLength, out, out.stride(), extent.columns());
    }

    @Override
    public void causalConvolutionGradient(Tensor x, Tensor weight, int sequenceLength, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        Extent extent = Extent.byRows(x);
        int taps = (int) weight.columns();
        inputs("causal_convolution_gradient").launch(extent.blocks(), THREADS, 0, weight, weight.stride(), taps,
                sequenceLength, dOut, dOut.stride(), dx, dx.stride(), extent.columns());
        if (dWeight != null) {
            inputs("convolution_weight_gradient").launchGrid(x.columns(), taps, 1, THREADS, 0, x, x.stride(), taps,
                    sequenceLength, dOut, dOut.stride(), x.rows(), dWeight, dWeight.stride());
        }
        if (dBias != null) {
            sums.addRowsInto(dOut, dBias);
        }
    }

    @Override
    public void deltaDecay(Tensor a, Tensor aLog, Tensor dtBias, Tensor out) {
        Extent extent = Extent.byRows(a);
        inputs("delta_decay").launch(extent.blocks(), THREADS, 0, a, a.stride(), aLog, dtBias, out, out.stride(),
                extent.columns());
    }

    @Override
    public void deltaDecayGradient(Tensor a, Tensor aLog, Tensor dtBias, Tensor dOut, Tensor da, @Nullable Tensor dALog,
            @Nullable Tensor dDtBias) {
        Extent extent = Extent.byRows(a);
        try (TensorArena arena = context.arena()) {
            Tensor product = arena.matrix(DType.F32, a.rows(), a.columns());
            inputs("delta_decay_gradient").launch(extent.blocks(), THREADS, 0, a, a.stride(), aLog, dtBias, dOut,
                    dOut.stride(), da, da.stride(), product, extent.columns());
            if (dALog != null) {
                sums.addRowsInto(product, dALog);
            }
            if (dDtBias != null) {
                sums.addRowsInto(da, dDtBias);
            }
        }
    }

    @Override
    public void gatedDeltaRule(DeltaInputs of, Tensor out) {
        launch("gated_delta", of, out, out.stride());
    }

    @Override
    public void gatedDeltaRuleGradient(DeltaInputs of, Tensor dOut, DeltaGradients gradients) {
        DeltaShape shape = of.shape();
        int chunk = (int) Math.ceil(Math.sqrt(shape.sequenceLength()));
        long kept = (long) blocks(shape) * shape.valueHeads()
                * (Math.ceilDiv(shape.sequenceLength(), chunk) + (long) chunk) * width(shape) * COLUMNS;
        long together = Math.max(1, STATE_BYTES / (kept * Float.BYTES)) * shape.sequenceLength();
        for (long row = 0; row < dOut.rows(); row += together) {
            long count = Math.min(together, dOut.rows() - row);
            DeltaInputs some = new DeltaInputs(of.q().rows(row, count), of.k().rows(row, count),
                    of.v().rows(row, count), of.decay().rows(row, count), of.beta().rows(row, count), shape);
            try (TensorArena arena = context.arena()) {
                Tensor states = arena.matrix(DType.F32, count / shape.sequenceLength(), kept);
                gradient(some, dOut.rows(row, count), new DeltaGradients(gradients.dq().rows(row, count),
                        gradients.dk().rows(row, count), gradients.dv().rows(row, count),
                        gradients.dDecay().rows(row, count), gradients.dBeta().rows(row, count)), states, chunk, arena);
            }
        }
    }

    /** Every block has its own sums of the shared gradients, which are then summed in order. */
    private void gradient(DeltaInputs of, Tensor dOut, DeltaGradients gradients, Tensor states, int chunk,
            TensorArena arena) {
        DeltaShape shape = of.shape();
        long rows = dOut.rows();
        int blocks = blocks(shape);
        long keys = (long) shape.valueHeads() * shape.keyDim();
        Tensor dq = arena.matrix(DType.F32, blocks * rows, keys);
        Tensor dk = arena.matrix(DType.F32, blocks * rows, keys);
        Tensor dDecay = arena.matrix(DType.F32, blocks * rows, shape.valueHeads());
        Tensor dBeta = arena.matrix(DType.F32, blocks * rows, shape.valueHeads());
        launch("gated_delta_gradient", of, dOut, dOut.stride(), gradients.dv(), gradients.dv().stride(), dq, dk, dDecay,
                dBeta, rows, states, chunk);
        sumParts(dq, blocks, shape.group(), shape.keyDim(), gradients.dq());
        sumParts(dk, blocks, shape.group(), shape.keyDim(), gradients.dk());
        sumParts(dDecay, blocks, 1, 1, gradients.dDecay());
        sumParts(dBeta, blocks, 1, 1, gradients.dBeta());
    }

    private void sumParts(Tensor parts, long blocks, long members, long width, Tensor target) {
        Extent extent = Extent.byRows(target);
        context.kernel("delta", "sum_parts").launch(extent.blocks(), THREADS, 0, parts, blocks, target.rows(), members,
                width, target, target.stride(), extent.columns());
    }

    private void launch(String kernel, DeltaInputs of, Object... more) {
        DeltaShape shape = of.shape();
        List<Object> arguments = new ArrayList<>(List.of(of.q(), of.q().stride(), of.k(), of.k().stride(), of.v(),
                of.v().stride(), of.decay(), of.decay().stride(), of.beta(), of.beta().stride()));
        arguments.addAll(List.of(shape.sequenceLength(), shape.keyHeads(), shape.valueHeads(), shape.keyDim(),
                shape.valueDim(), shape.scale()));
        arguments.addAll(Arrays.asList(more));
        context.kernel("delta", kernel + width(shape)).launchGrid(blocks(shape), shape.valueHeads(),
                of.q().rows() / shape.sequenceLength(), THREADS, 0, arguments.toArray());
    }

    /** Blocks of a head. */
    private static int blocks(DeltaShape shape) {
        return Math.ceilDiv(shape.valueDim(), COLUMNS);
    }

    /** The smallest kernel that holds a key. */
    private static int width(DeltaShape shape) {
        return shape.keyDim() <= 64 ? 64 : shape.keyDim() <= 128 ? 128 : 256;
    }
}
