package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.MatrixOps;
import dev.optgptq.kernels.ops.NeuralOps;
import java.util.Objects;

/**
 * The one forward pass: what every family computes, on the op set alone. What differs between families is read from the
 * spec; N tokens, hidden width d. Activations are F32; what is multiplied, the input of linears and attention's queries, keys
 * and values, is rounded to the dtype of the products first, where that is not F32.
 */
record ForwardPass(ModelSpec spec, NeuralOps neural, MatrixOps matrix) {

    /** x [N, d] += attention(norm(x)); x += mlp(norm(x)). The tap sees what enters each group of linears. */
    void block(BlockWeights block, Tensor x, ForwardBuffers buffers, InputTap tap) {
        ForwardBuffers b = buffers.first(x.rows());

        norm(block.attentionNorm(), x, b.normed());
        Tensor attentionInput = b.factor(neural, b.normed());
        if (!tap.at(InputSite.ATTENTION_INPUT, attentionInput)) {
            return;
        }
        queriesKeysValues(block, attentionInput, b);
        attention(b);
        Tensor attended = b.factor(neural, b.attended());
        if (!tap.at(InputSite.ATTENTION_OUTPUT, attended)) {
            return;
        }
        addLinear(block.of(Projection.ATTENTION_OUTPUT), attended, x);

        norm(block.mlpNorm(), x, b.normed());
        Tensor mlpInput = b.factor(neural, b.normed());
        if (!tap.at(InputSite.MLP_INPUT, mlpInput)) {
            return;
        }
        gateAndUp(block, mlpInput, b);
        Tensor activated = b.factor(neural, activated(b));
        if (!tap.at(InputSite.MLP_OUTPUT, activated)) {
            return;
        }
        addLinear(block.of(Projection.DOWN), activated, x);
    }

    /** out = norm(x), both [N, d]. */
    void norm(NormWeights norm, Tensor x, Tensor out) {
        switch (spec.norm().kind()) {
            case RMS -> neural.rmsNorm(x, norm.weight(), spec.norm().eps(), out);
            case LAYER -> neural.layerNorm(x, norm.weight(), norm.bias(), spec.norm().eps(), out);
        }
    }

    void queriesKeysValues(BlockWeights block, Tensor x, ForwardBuffers b) {
        for (LinearSpec linear : block.linears()) {
            switch (linear.projection()) {
                case QUERY_KEY_VALUE -> linear(block.of(linear.projection()), x, b.queryKeyValue());
                case QUERY -> linear(block.of(linear.projection()), x, b.queries());
                case KEY -> linear(block.of(linear.projection()), x, b.keys());
                case VALUE -> linear(block.of(linear.projection()), x, b.values());
                case ATTENTION_OUTPUT, GATE, UP, DOWN -> {
                    // not of this site
                }
            }
        }
    }

    void attention(ForwardBuffers b) {
        ForwardBuffers.Rotation rotation = b.rotation();
        if (rotation != null) {
            int headDim = spec.attention().headDim();
            neural.rotary(b.queries(), headDim, rotation.cos(), rotation.sin(), rotation.form().layout());
            neural.rotary(b.keys(), headDim, rotation.cos(), rotation.sin(), rotation.form().layout());
        }
        Tensor all = b.factor(neural, b.queryKeyValue());
        neural.attention(b.queries(all), b.keys(all), b.values(all), b.slopes(), b.shape(), b.attended());
    }

    /** [N, intermediate]: f(gate(x)) * up(x), or f(up(x)). */
    private Tensor activated(ForwardBuffers b) {
        return switch (spec.mlp().form()) {
            case GATED -> {
                Tensor gate = Objects.requireNonNull(b.gate());
                neural.activateGated(spec.mlp().activation(), gate, b.up());
                yield gate;
            }
            case PLAIN -> {
                neural.activate(spec.mlp().activation(), b.up());
                yield b.up();
            }
        };
    }

    /** The linears before the activation. */
    void gateAndUp(BlockWeights block, Tensor x, ForwardBuffers b) {
        linear(block.of(Projection.UP), x, b.up());
        if (spec.mlp().form() == ModelSpec.Mlp.Form.GATED) {
            linear(block.of(Projection.GATE), x, Objects.requireNonNull(b.gate()));
        }
    }

    private void linear(LinearWeights linear, Tensor x, Tensor y) {
        matrix.linear(x, linear.weight(), linear.bias(), 0, y);
    }

    /** y += x w^T + bias: the residual connection is part of the product. */
    void addLinear(LinearWeights linear, Tensor x, Tensor y) {
        matrix.linear(x, linear.weight(), linear.bias(), 1, y);
    }
}
