package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.NeuralArguments;
import dev.optgptq.kernels.ops.NeuralOps;
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
        NeuralArguments.convert(source, target);
        Conversion.run(context, source, target);
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        NeuralArguments.embed(ids, table, out);
        Extent extent = Extent.byRows(out);
        kernel("embedding", "embed").launch(extent.blocks(), THREADS, 0, ids, table, Extent.code(table.dtype()),
                table.stride(), table.rows(), out, out.stride(), extent.columns());
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        NeuralArguments.rmsNorm(x, weight, out);
        kernel("norm", "rms_norm").launch(x.rows(), THREADS, 0, x, x.stride(), weight, eps, out, out.stride(),
                x.columns());
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        NeuralArguments.layerNorm(x, weight, bias, out);
        kernel("norm", "layer_norm").launch(x.rows(), THREADS, 0, x, x.stride(), weight, bias, eps, out, out.stride(),
                x.columns());
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        NeuralArguments.rotary(x, headDim, cos, sin);
        Extent extent = new Extent(x.rows(), x.columns() / headDim * cos.columns());
        kernel("rotary", "rotary").launch(extent.blocks(), THREADS, 0, x, x.stride(), headDim, cos, cos.stride(), sin,
                sin.stride(), cos.rows(), Math.toIntExact(cos.columns()), layout == RotaryLayout.INTERLEAVED ? 1 : 0,
                extent.columns());
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        NeuralArguments.attention(q, k, v, slopes, shape, out);
        attention.run(q, k, v, slopes, shape, out);
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        NeuralArguments.activate(x);
        Extent extent = Extent.of(x);
        kernel("activation", "activate").launch(extent.blocks(), THREADS, 0, code(activation), x, x.stride(),
                extent.columns());
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up) {
        NeuralArguments.activateGated(gate, up);
        Extent extent = Extent.of(gate, up);
        kernel("activation", "activate_gated").launch(extent.blocks(), THREADS, 0, code(activation), gate,
                gate.stride(), up, up.stride(), extent.columns());
    }

    /** As activation.h numbers them. */
    static int code(Activation activation) {
        return switch (activation) {
            case SILU -> 0;
            case GELU -> 1;
            case GELU_TANH -> 2;
            case RELU -> 3;
        };
    }

    @Override
    public void add(Tensor x, Tensor y) {
        NeuralArguments.add(x, y);
        Extent extent = Extent.of(x, y);
        kernel("elementwise", "add_to").launch(extent.blocks(), THREADS, 0, x, x.stride(), y, y.stride(),
                extent.columns());
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        NeuralArguments.addRow(x, row);
        Extent extent = Extent.byRows(x);
        kernel("elementwise", "add_to").launch(extent.blocks(), THREADS, 0, x, x.stride(), row, 0L, extent.columns());
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        NeuralArguments.crossEntropy(logits, targets, nll);
        kernel("cross_entropy", "cross_entropy").launch(logits.rows(), THREADS, 0, logits, logits.stride(),
                logits.columns(), targets, nll);
    }

    @Override
    public void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        NeuralArguments.klDivergence(teacher, student, kl, agrees);
        GpuKlDivergence.value(context, teacher, student, kl, agrees);
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        NeuralArguments.countNonFinite(x, count);
        // The double 0 has the bits of the integer 0.
        kernel("move", "fill").launch(1, THREADS, 0, count, 1L, 8, 0f, 1L);
        Extent extent = Extent.of(x);
        kernel("count_non_finite", "count_non_finite").launch(extent.blocks(), THREADS, 0, x,
                Extent.code(x.dtype()), x.stride(), extent.columns(), count);
    }
}
