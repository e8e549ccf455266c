package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.MatrixOps;
import dev.optgptq.kernels.ops.NeuralOps;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The mirror of ForwardPass: the loss's gradient back through what every family computes, on the op set alone. A block is
 * computed again from its input, so that of the whole model only the residual stream needs to be kept (Chen et al. 2016,
 * arXiv 1604.06174); or the forward pass has left its traces.
 */
record BackwardPass(ModelSpec spec, ForwardPass forward, NeuralOps neural, MatrixOps matrix, GradientOps gradient) {

    /**
     * The gradient through one block.
     *
     * @param x F32 [N, hidden], the block's input; left as it is
     * @param d F32 [N, hidden], the gradient for the block's output, replaced by that for its input
     * @param tap sees the gradient for each linear's output
     * @param into the parameters' gradients, of all kinds or some, to which this batch's are added; null when none are
     *     wanted
     */
    void block(BlockWeights block, Tensor x, Tensor d, BackwardBuffers buffers, OutputTap tap,
            @Nullable BlockWeights into) {
        BackwardBuffers b = buffers.first(x.rows());
        trace(block, x, b.trace());
        gradients(block, x, d, b, tap, into);
    }

    /**
     * One block forward, which leaves its trace: x F32 [N, hidden] its input, left as it is, y F32 [N, hidden] its output,
     * written. The bits are the forward pass's.
     */
    void tracing(BlockWeights block, Tensor x, Tensor y, BlockTrace trace) {
        BlockTrace t = trace.first(x.rows());
        trace(block, x, t);
        matrix.copy(t.residual(), y);
        forward.addLinear(block.of(Projection.DOWN), t.activated(), y);
    }

    /** The gradient through one block whose trace was left by {@link #tracing}; else as {@link #block}. */
    void traced(BlockWeights block, Tensor x, Tensor d, BlockTrace trace, BackwardBuffers buffers, OutputTap tap,
            @Nullable BlockWeights into) {
        gradients(block, x, d, buffers.of(trace).first(x.rows()), tap, into);
    }

    /**
     * Forward and backward through one block, whose loss is a function of its output.
     *
     * @param y F32 [N, hidden], written: the block's output, which the loss replaces by the gradient for it; in the end
     *     the gradient for the block's input
     */
    void through(BlockWeights block, Tensor x, Tensor y, BackwardBuffers buffers, OutputLoss loss, BlockWeights into) {
        tracing(block, x, y, buffers.trace());
        loss.differentiate(y);
        gradients(block, x, y, buffers.first(x.rows()), OutputTap.NONE, into);
    }

    private void gradients(BlockWeights block, Tensor x, Tensor d, BackwardBuffers b, OutputTap tap,
            @Nullable BlockWeights into) {
        BlockTrace trace = b.trace();
        ForwardBuffers f = trace.forward();
        Step step = new Step(block, tap, into);

        step.linear(Projection.DOWN, trace.activated(), d, 0, b.dActivated());
        activation(b);
        step.linear(Projection.UP, f.normed(), f.up(), 0, b.dNormed());
        if (spec.mlp().form() == ModelSpec.Mlp.Form.GATED) {
            step.linear(Projection.GATE, f.normed(), Objects.requireNonNull(f.gate()), 1, b.dNormed());
        }
        BlockWeights norms = into != null && into.has(ParameterKind.NORM) ? into : null;
        norm(block.mlpNorm(), trace.residual(), b.dNormed(), d, norms == null ? null : norms.mlpNorm());

        step.linear(Projection.ATTENTION_OUTPUT, f.attended(), d, 0, b.dAttended());
        attention(b);
        if (step.sumsLinears()) {
            forward.norm(block.attentionNorm(), x, f.normed());
        }
        queriesKeysValues(step, b);
        norm(block.attentionNorm(), x, b.dNormed(), d, norms == null ? null : norms.attentionNorm());
    }

    /** The forward pass up to the last linear, leaving what the gradients need. */
    private void trace(BlockWeights block, Tensor x, BlockTrace t) {
        ForwardBuffers f = t.forward();
        forward.norm(block.attentionNorm(), x, f.normed());
        forward.queriesKeysValues(block, f.normed(), f);
        forward.attention(f);
        matrix.copy(x, t.residual());
        forward.addLinear(block.of(Projection.ATTENTION_OUTPUT), f.attended(), t.residual());
        forward.norm(block.mlpNorm(), t.residual(), f.normed());
        forward.gateAndUp(block, f.normed(), f);
        switch (spec.mlp().form()) {
            case GATED -> {
                matrix.copy(Objects.requireNonNull(f.gate()), t.activated());
                neural.activateGated(spec.mlp().activation(), t.activated(), f.up());
            }
            case PLAIN -> {
                matrix.copy(f.up(), t.activated());
                neural.activate(spec.mlp().activation(), t.activated());
            }
        }
    }

    /** gate and up become their gradients. */
    private void activation(BackwardBuffers b) {
        ForwardBuffers f = b.trace().forward();
        switch (spec.mlp().form()) {
            case GATED -> gradient.activateGatedGradient(spec.mlp().activation(), Objects.requireNonNull(f.gate()),
                    f.up(), b.dActivated());
            case PLAIN -> gradient.activateGradient(spec.mlp().activation(), f.up(), b.dActivated());
        }
    }

    /** d += the gradient through norm(x). */
    void norm(NormWeights norm, Tensor x, Tensor dNormed, Tensor d, @Nullable NormWeights into) {
        Tensor dWeight = into == null ? null : into.weight();
        switch (spec.norm().kind()) {
            case RMS -> gradient.rmsNormGradient(x, norm.weight(), spec.norm().eps(), dNormed, d, dWeight);
            case LAYER -> gradient.layerNormGradient(x, norm.weight(), spec.norm().eps(), dNormed, d, dWeight,
                    into == null ? null : into.bias());
        }
    }

    private void attention(BackwardBuffers b) {
        ForwardBuffers f = b.trace().forward();
        gradient.attentionGradient(
                new Attended(f.queries(), f.keys(), f.values(), f.slopes(), f.shape(), f.attended()), b.dAttended(),
                b.dQueries(), b.dKeys(), b.dValues());
        ForwardBuffers.Rotation rotation = f.rotation();
        if (rotation != null) {
            int headDim = spec.attention().headDim();
            gradient.rotaryGradient(b.dQueries(), headDim, rotation.cos(), rotation.sin(), rotation.form().layout());
            gradient.rotaryGradient(b.dKeys(), headDim, rotation.cos(), rotation.sin(), rotation.form().layout());
        }
    }

    private void queriesKeysValues(Step step, BackwardBuffers b) {
        float beta = 0;
        for (LinearSpec linear : step.block().linears()) {
            if (linear.site() == InputSite.ATTENTION_INPUT) {
                step.linear(linear.projection(), b.trace().forward().normed(), dOutput(linear.projection(), b), beta,
                        b.dNormed());
                beta = 1;
            }
        }
    }

    private static Tensor dOutput(Projection projection, BackwardBuffers b) {
        return switch (projection) {
            case QUERY_KEY_VALUE -> b.dQueryKeyValue();
            case QUERY -> b.dQueries();
            case KEY -> b.dKeys();
            case VALUE -> b.dValues();
            case ATTENTION_OUTPUT, GATE, UP, DOWN ->
                throw new IllegalArgumentException(projection + " does not read the attention's input");
        };
    }

    /** What the linears of one block's backward pass share. */
    private final class Step {
        private final BlockWeights block;
        private final OutputTap tap;
        /** Null when no gradients of linears are wanted. */
        private final @Nullable BlockWeights into;

        private Step(BlockWeights block, OutputTap tap, @Nullable BlockWeights into) {
            this.block = block;
            this.tap = tap;
            this.into = into != null && into.has(ParameterKind.LINEAR) ? into : null;
        }

        boolean sumsLinears() {
            return into != null;
        }

        BlockWeights block() {
            return block;
        }

        /** dx = beta dx + dy w; the parameters' gradients grow by dy^T x and the sum of dy's rows. */
        void linear(Projection projection, Tensor x, Tensor dy, float beta, Tensor dx) {
            tap.at(block.linear(projection), dy);
            if (into != null) {
                LinearWeights sums = into.of(projection);
                matrix.gemm(1, dy, true, x, false, 1, sums.weight());
                if (sums.bias() != null) {
                    gradient.addRowsInto(dy, sums.bias());
                }
            }
            matrix.gemm(1, dy, false, block.of(projection).weight(), false, beta, dx);
        }
    }

    /**
     * The gradient through logits = head(norm(x)).
     *
     * @param x F32 [N, hidden]
     * @param normed F32 [N, hidden], norm(x); overwritten
     * @param dLogits F32 [N, vocabulary]
     * @param d F32 [N, hidden], written
     * @param into the parameters' gradients, of both kinds or one; the matrix's is a product as large as the logits'
     */
    void head(Head head, Tensor x, Tensor normed, Tensor dLogits, Tensor d, @Nullable Head into) {
        if (into != null && into.has(ParameterKind.LINEAR)) {
            matrix.gemm(1, dLogits, true, normed, false, 1, into.weight());
        }
        matrix.gemm(1, dLogits, false, head.weight(), false, 0, normed);
        matrix.fill(d, 0);
        norm(head.norm(), x, normed, d, into != null && into.has(ParameterKind.NORM) ? into.norm() : null);
    }
}
