package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.NeuralOps;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** NeuralOps with the Vector API. */
public final class CpuNeuralOps implements NeuralOps {

    public CpuNeuralOps(Parallel parallel) {}

    @Override
    public void convert(Tensor source, Tensor target) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void add(Tensor x, Tensor y) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        throw new UnsupportedOperationException("not written yet");
    }
}
