package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.BlockSpec.Residual;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The one forward pass of every family, step by step, using only the op set. Differences between families are read from
 * the block's spec; N tokens, hidden width d. Activations are F32; matmul inputs, the inputs of linears and attention's
 * queries, keys and values, are first rounded to the matmul dtype, if that is not F32.
 */
record ForwardPass(Device device, NormStep norms, AttentionStep attention, LatentAttentionStep latent,
        DeltaNetStep delta,
        DenseStep dense, ExpertsStep experts, ResidualStep residual) {

    static ForwardPass on(Device device) {
        LinearStep linears = new LinearStep(device);
        NormStep norms = new NormStep(device);
        DenseStep dense = new DenseStep(device, linears);
        return new ForwardPass(device, norms, new AttentionStep(device, linears, norms),
                new LatentAttentionStep(device, linears, norms), new DeltaNetStep(device, linears, norms), dense,
                ExpertsStep.on(device, dense),
                new ResidualStep(device, norms));
    }

    /**
     * x [N, d] += attention(norm(x)); x += mlp(norm(x)), in the block's form. The tap receives the inputs of linears.
     */
    void block(BlockWeights weights, Tensor x, ForwardBuffers buffers, TokenContext context, InputTap tap) {
        Frame f = buffers.frame(weights, x.rows(), context, false, tap);
        Tensor input = f.spec().mixer() instanceof Mixer.Attention && f.spec().residual() != Residual.PARALLEL
                ? factorBefore(f, NormSlot.BEFORE_ATTENTION, x)
                : before(f, NormSlot.BEFORE_ATTENTION, x, Scratch.NORMED);
        Tensor aside = aside(f, x, input);
        if (attentionPart(f, input, x)) {
            mlpPart(f, x, aside);
        }
    }

    /**
     * The mixture alone, for what its linears receive: all but the output of block().
     *
     * @param input F32 [N, d], as the tap received it from block()
     */
    void mixture(BlockWeights weights, Tensor input, ForwardBuffers buffers, TokenContext context, InputTap tap) {
        if (weights.spec().feedForward() instanceof FeedForward.Experts form) {
            Frame f = buffers.frame(weights, input.rows(), context, false, tap);
            experts.forward(f, form, input, new Outlet(f.scratch(Scratch.NORMED, (int) input.columns()), 0));
        }
    }

    /**
     * block(), keeping what the gradients need.
     *
     * @param x F32 [N, d], left as it is
     * @param y F32 [N, d], written: the block's output; null if it is not wanted
     */
    void trace(BlockWeights weights, Tensor x, @Nullable Tensor y, ForwardBuffers buffers, TokenContext context) {
        boolean needsOutput = y != null || weights.spec().has(NormSlot.AFTER_MLP);
        // Without an output the last linear need not be computed.
        InputTap tap = needsOutput
                ? InputTap.NONE
                : (site, input, tokens) -> !site.equals(InputSite.MLP_OUTPUT) && !site.ofExpert();
        Frame f = buffers.frame(weights, x.rows(), context, true, tap);
        Tensor between = f.scratch(Scratch.RESIDUAL, (int) x.columns());
        device.matrix().copy(x, between);
        Tensor input = before(f, NormSlot.BEFORE_ATTENTION, x, Scratch.NORMED);
        Tensor aside = aside(f, x, input);
        attentionPart(f, input, between);
        Tensor output = y != null ? y : needsOutput ? f.scratch(Scratch.OUTPUT, (int) x.columns()) : between;
        if (needsOutput) {
            device.matrix().copy(between, output);
        }
        mlpPart(f, output, aside);
    }

    /** The MLP's input in a parallel block; null if it comes after attention. */
    private @Nullable Tensor aside(Frame f, Tensor x, Tensor attentionInput) {
        if (f.spec().residual() != Residual.PARALLEL) {
            return null;
        }
        return f.spec().has(NormSlot.BEFORE_MLP)
                ? before(f, NormSlot.BEFORE_MLP, x, Scratch.MLP_NORMED)
                : attentionInput;
    }

    private boolean attentionPart(Frame f, Tensor input, Tensor x) {
        Outlet out = residual.open(f, NormSlot.AFTER_ATTENTION, x);
        boolean on = switch (f.spec().mixer()) {
            case Mixer.Attention form -> attention.forward(f, form, f.factor(device.neural(), input), out);
            case Mixer.LatentAttention form -> latent.forward(f, form, input, out);
            case Mixer.DeltaNet form -> delta.forward(f, form, input, out);
        };
        if (on) {
            residual.close(f, NormSlot.AFTER_ATTENTION, x, out);
        }
        return on;
    }

    private void mlpPart(Frame f, Tensor x, @Nullable Tensor aside) {
        Tensor input = aside != null
                ? aside
                : f.spec().feedForward() instanceof FeedForward.Dense
                        ? factorBefore(f, NormSlot.BEFORE_MLP, x)
                        : before(f, NormSlot.BEFORE_MLP, x, Scratch.NORMED);
        Outlet out = residual.open(f, NormSlot.AFTER_MLP, x);
        boolean on = switch (f.spec().feedForward()) {
            case FeedForward.Dense form -> {
                Tensor factor = f.factor(device.neural(), input);
                yield f.tap().at(InputSite.MLP_INPUT, factor)
                        && dense.forward(f, form, DenseStep.Linears.of(f.spec()), factor, out);
            }
            case FeedForward.Experts form -> {
                f.tap().mixtureInput(input);
                yield experts.forward(f, form, input, out);
            }
        };
        if (on) {
            residual.close(f, NormSlot.AFTER_MLP, x, out);
        }
    }

    /** norm(x) if the slot has a norm, else x. */
    Tensor before(Frame f, NormSlot slot, Tensor x, Scratch target) {
        NormWeights norm = f.weights().norm(slot);
        if (norm == null) {
            return x;
        }
        Tensor normed = f.scratch(target, (int) x.columns());
        norms.forward(norm, x, normed);
        return normed;
    }

    /** The same for those that only multiply it: rounded to the matmul dtype at once, where it may be. */
    private Tensor factorBefore(Frame f, NormSlot slot, Tensor x) {
        NormWeights norm = f.weights().norm(slot);
        if (norm == null || !f.roundsOnce()) {
            return before(f, slot, x, Scratch.NORMED);
        }
        Tensor normed = f.rounded(x);
        norms.forward(norm, x, normed);
        return normed;
    }

    /** Scratch memory of block() for any of a model's blocks. */
    static void forwardNeeds(BlockSpec block, int hidden, Widths widths) {
        widths.need(Scratch.NORMED, hidden);
        if (block.residual() == Residual.PARALLEL && block.has(NormSlot.BEFORE_MLP)) {
            widths.need(Scratch.MLP_NORMED, hidden);
        }
        ResidualStep.forwardNeeds(block, hidden, widths);
        switch (block.mixer()) {
            case Mixer.Attention form -> AttentionStep.forwardNeeds(block, form, widths);
            case Mixer.LatentAttention form -> LatentAttentionStep.forwardNeeds(form, widths);
            case Mixer.DeltaNet form -> {
                DeltaNetStep.forwardNeeds(form, widths);
                block.linears().forEach(linear -> LinearStep.needs(linear, widths));
            }
        }
        switch (block.feedForward()) {
            case FeedForward.Dense form -> DenseStep.forwardNeeds(form, DenseStep.Linears.of(block), widths);
            case FeedForward.Experts form -> ExpertsStep.forwardNeeds(block, form, hidden, widths);
        }
    }

    /** Additional needs of trace(). */
    static void traceNeeds(BlockSpec block, int hidden, Widths widths) {
        widths.need(Scratch.RESIDUAL, hidden);
        if (block.has(NormSlot.AFTER_MLP)) {
            widths.need(Scratch.OUTPUT, hidden);
        }
        ResidualStep.traceNeeds(block, hidden, widths);
        switch (block.mixer()) {
            case Mixer.Attention form -> AttentionStep.traceNeeds(block, form, widths);
            case Mixer.LatentAttention form -> LatentAttentionStep.traceNeeds(form, widths);
            case Mixer.DeltaNet form -> DeltaNetStep.traceNeeds(form, widths);
        }
        switch (block.feedForward()) {
            case FeedForward.Dense form -> DenseStep.traceNeeds(form, widths);
            case FeedForward.Experts form -> ExpertsStep.traceNeeds(form, widths);
        }
    }
}
