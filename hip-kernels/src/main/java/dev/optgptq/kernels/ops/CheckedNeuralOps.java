package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedNeuralOps implements NeuralOps {

    private final NeuralOps ops;

    public CheckedNeuralOps(NeuralOps ops) {
        this.ops = ops;
    }

    @Override
    public void convert(Tensor source, Tensor target) {
        NeuralArguments.convert("convert", source, target);
        ops.convert(source, target);
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        NeuralArguments.embed("embed", ids, table, out);
        ops.embed(ids, table, out);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        NeuralArguments.rmsNorm("rmsNorm", x, weight, out);
        ops.rmsNorm(x, weight, eps, out);
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        NeuralArguments.layerNorm("layerNorm", x, weight, bias, out);
        ops.layerNorm(x, weight, bias, eps, out);
    }

    @Override
    public void rmsNormGroups(Tensor x, Tensor weight, int width, float eps, Tensor out) {
        NeuralArguments.rmsNormGroups("rmsNormGroups", x, weight, width, out);
        ops.rmsNormGroups(x, weight, width, eps, out);
    }

    @Override
    public void layerNormGroups(Tensor x, Tensor weight, @Nullable Tensor bias, int width, float eps, Tensor out) {
        NeuralArguments.layerNormGroups("layerNormGroups", x, weight, bias, width, out);
        ops.layerNormGroups(x, weight, bias, width, eps, out);
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        NeuralArguments.rotary("rotary", x, headDim, cos, sin);
        ops.rotary(x, headDim, cos, sin, layout);
    }

    @Override
    public void rotaryTo(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout, Tensor out) {
        NeuralArguments.rotaryTo("rotaryTo", x, headDim, cos, sin, out);
        ops.rotaryTo(x, headDim, cos, sin, layout, out);
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks,
            AttentionShape shape, Tensor out) {
        NeuralArguments.attention("attention", q, k, v, slopes, sinks, shape, out);
        ops.attention(q, k, v, slopes, sinks, shape, out);
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        NeuralArguments.activate("activate", x);
        ops.activate(activation, x);
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up, Tensor out) {
        NeuralArguments.activateGated("activateGated", gate, up, out);
        ops.activateGated(activation, gate, up, out);
    }

    @Override
    public void clampedSwiglu(Tensor gate, Tensor up, float alpha, float limit) {
        NeuralArguments.clampedSwiglu("clampedSwiglu", gate, up, limit);
        ops.clampedSwiglu(gate, up, alpha, limit);
    }

    @Override
    public void gateSigmoid(Tensor x, Tensor gate) {
        NeuralArguments.gateSigmoid("gateSigmoid", x, gate);
        ops.gateSigmoid(x, gate);
    }

    @Override
    public void scale(Tensor x, float factor) {
        NeuralArguments.scale("scale", x);
        ops.scale(x, factor);
    }

    @Override
    public void softcap(Tensor x, float cap) {
        NeuralArguments.softcap("softcap", x, cap);
        ops.softcap(x, cap);
    }

    @Override
    public void clamp(Tensor x, float limit) {
        NeuralArguments.clamp("clamp", x, limit);
        ops.clamp(x, limit);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        NeuralArguments.add("add", x, y);
        ops.add(x, y);
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        NeuralArguments.addRow("addRow", x, row);
        ops.addRow(x, row);
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        NeuralArguments.crossEntropy("crossEntropy", logits, targets, nll);
        ops.crossEntropy(logits, targets, nll);
    }

    @Override
    public void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        NeuralArguments.klDivergence("klDivergence", teacher, student, kl, agrees);
        ops.klDivergence(teacher, student, kl, agrees);
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        NeuralArguments.countNonFinite("countNonFinite", x, count);
        ops.countNonFinite(x, count);
    }

    @Override
    public void causalSoftmax(Tensor scores, float scale, @Nullable Tensor slopes, int window) {
        NeuralArguments.attentionMatrices("causalSoftmax", "scores", scores, window);
        if (slopes != null) {
            Arguments.f32("causalSoftmax", "slopes", slopes, 1, scores.rows() / scores.columns());
        }
        ops.causalSoftmax(scores, scale, slopes, window);
    }
}
