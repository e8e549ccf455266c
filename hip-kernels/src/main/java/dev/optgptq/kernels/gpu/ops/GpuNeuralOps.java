package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import org.jspecify.annotations.Nullable;

/**
 * NeuralOps on a GPU. Ids and targets are read on the device, where nothing can be thrown: one outside its range gives
 * NaN.
 */
public final class GpuNeuralOps implements NeuralOps {

    private static final int THREADS = Extent.THREADS;

    private final GpuContext context;
    private final GpuAttention attention;

    public GpuNeuralOps(GpuContext context) {
        this.context = context;
        this.attention = new GpuAttention(context);
    }

    private Kernel kernel(String source, String function) {
        return context.kernel(source, function);
    }

    @Override
    public void convert(Tensor source, Tensor target) {
        Conversion.run(context, source, target);
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        Extent extent = Extent.byRows(out);
        kernel("embedding", "embed").launch(extent.blocks(), THREADS, 0, ids, table, Extent.code(table.dtype()),
                table.stride(), table.rows(), out, out.stride(), extent.columns());
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        kernel("norm", "rms_norm").launch(x.rows(), THREADS, 0, x, x.stride(), weight, eps, out,
                Extent.code(out.dtype()), out.stride(), x.columns());
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        kernel("norm", "layer_norm").launch(x.rows(), THREADS, 0, x, x.stride(), weight, bias, eps, out,
                Extent.code(out.dtype()), out.stride(), x.columns());
    }

    @Override
    public void rmsNormGroups(Tensor x, Tensor weight, int width, float eps, Tensor out) {
        Groups groups = Groups.of(x, weight, width);
        kernel("norm", "rms_norm_groups").launch(groups.blocks(), THREADS, 0, x, x.stride(), weight, eps, out,
                out.stride(), x.rows(), groups.count(), (long) width, groups.own());
    }

    @Override
    public void layerNormGroups(Tensor x, Tensor weight, @Nullable Tensor bias, int width, float eps, Tensor out) {
        Groups groups = Groups.of(x, weight, width);
        kernel("norm", "layer_norm_groups").launch(groups.blocks(), THREADS, 0, x, x.stride(), weight, bias, eps, out,
                out.stride(), x.rows(), groups.count(), (long) width, groups.own());
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        Extent extent = new Extent(x.rows(), x.columns() / headDim * cos.columns());
        kernel("rotary", "rotary").launch(extent.blocks(), THREADS, 0, x, x.stride(), headDim, cos, cos.stride(), sin,
                sin.stride(), cos.rows(), Math.toIntExact(cos.columns()), layout == RotaryLayout.INTERLEAVED ? 1 : 0,
                extent.columns());
    }

    @Override
    public void rotaryTo(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout, Tensor out) {
        Extent extent = new Extent(x.rows(), x.columns() / headDim * (headDim - cos.columns()));
        kernel("rotary", "rotary_to").launch(extent.blocks(), THREADS, 0, x, x.stride(), headDim, cos, cos.stride(),
                sin, sin.stride(), cos.rows(), Math.toIntExact(cos.columns()),
                layout == RotaryLayout.INTERLEAVED ? 1 : 0, out, Extent.code(out.dtype()), out.stride(),
                extent.columns());
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks,
            AttentionShape shape, Tensor out) {
        attention.run(new Attended(q, k, v, slopes, sinks, shape, out));
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        Extent extent = Extent.of(x);
        kernel("activation", "activate").launch(extent.blocks(), THREADS, 0, code(activation), x, x.stride(),
                extent.columns());
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up, Tensor out) {
        Extent extent = Extent.of(gate, up, out);
        kernel("activation", "activate_gated").launch(extent.blocks(), THREADS, 0, code(activation), gate,
                gate.stride(), up, up.stride(), out, Extent.code(out.dtype()), out.stride(), extent.columns());
    }

    /** As activation.h numbers them. */
    static int code(Activation activation) {
        return switch (activation) {
            case SILU -> 0;
            case GELU -> 1;
            case GELU_TANH -> 2;
            case RELU -> 3;
            case GELU_QUICK -> 4;
            case RELU_SQUARED -> 5;
            case SIGMOID -> 6;
        };
    }

    @Override
    public void clampedSwiglu(Tensor gate, Tensor up, float alpha, float limit) {
        Extent extent = Extent.of(gate, up);
        kernel("gates", "clamped_swiglu").launch(extent.blocks(), THREADS, 0, gate, gate.stride(), up, up.stride(),
                alpha, limit, extent.columns());
    }

    @Override
    public void gateSigmoid(Tensor x, Tensor gate) {
        Extent extent = Extent.byRows(x);
        kernel("gates", "gate_sigmoid").launch(extent.blocks(), THREADS, 0, x, x.stride(), gate, gate.stride(),
                gate.columns() == 1 ? 0 : 1, extent.columns());
    }

    @Override
    public void scale(Tensor x, float factor) {
        Extent extent = Extent.of(x);
        kernel("elementwise", "scale").launch(extent.blocks(), THREADS, 0, x, x.stride(), factor, extent.columns());
    }

    @Override
    public void softcap(Tensor x, float cap) {
        Extent extent = Extent.of(x);
        kernel("limits", "softcap").launch(extent.blocks(), THREADS, 0, x, x.stride(), cap, extent.columns());
    }

    @Override
    public void clamp(Tensor x, float limit) {
        Extent extent = Extent.of(x);
        kernel("limits", "clamp").launch(extent.blocks(), THREADS, 0, x, x.stride(), limit, extent.columns());
    }

    @Override
    public void add(Tensor x, Tensor y) {
        Extent extent = Extent.of(x, y);
        kernel("elementwise", "add_to").launch(extent.blocks(), THREADS, 0, x, x.stride(), y, y.stride(),
                extent.columns());
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        Extent extent = Extent.byRows(x);
        kernel("elementwise", "add_to").launch(extent.blocks(), THREADS, 0, x, x.stride(), row, 0L, extent.columns());
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        kernel("cross_entropy", "cross_entropy").launch(logits.rows(), THREADS, 0, logits, logits.stride(),
                logits.columns(), targets, nll);
    }

    @Override
    public void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        GpuKlDivergence.value(context, teacher, student, kl, agrees);
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        // The double 0 has the bits of the integer 0.
        kernel("move", "fill").launch(1, THREADS, 0, count, 1L, 8, 0f, 1L);
        Extent extent = Extent.of(x);
        kernel("count_non_finite", "count_non_finite").launch(extent.blocks(), THREADS, 0, x,
                Extent.code(x.dtype()), x.stride(), extent.columns(), count);
    }

    @Override
    public void causalSoftmax(Tensor scores, float scale, @Nullable Tensor slopes, int window) {
        int length = Math.toIntExact(scores.columns());
        context.kernel("causal_softmax", "causal_softmax").launchGrid(length, scores.rows() / length, 1, THREADS, 0,
                scores, scores,
                Extent.code(scores.dtype()), scores.stride(), length * scores.stride(), slopes, null, 0, 0, length,
                length,
                scale, 0f, window);
    }
}
