package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.BlockSpec.Residual;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The mirror of ForwardPass: the loss's gradient through the one forward pass of every family, using only the op set. A
 * block is recomputed from its input, so that only the residual stream of the whole model needs to be kept (Chen et al.
 * 2016, arXiv 1604.06174); or the forward pass has left its traces.
 */
record BackwardPass(Device device, ForwardPass forward) {

    /**
     * The gradient through one block.
     *
     * @param x F32 [N, hidden], the block's input; left as it is
     * @param d F32 [N, hidden], the gradient for the block's output, replaced by that for its input
     * @param tap sees the gradient for each linear's output
     * @param into the parameters' gradients, of all kinds or some, to which this batch's are added; null if none are
     *     wanted
     */
    void block(BlockWeights block, Tensor x, Tensor d, BackwardBuffers buffers, OutputTap tap,
            @Nullable BlockWeights into) {
        ForwardBuffers kept = buffers.trace().forward();
        forward.trace(block, x, null, kept, kept.sequences(device.neural(), x.rows()));
        gradients(block, x, d, buffers, tap, into);
    }

    /**
     * One block forward, which keeps its trace: x F32 [N, hidden] its input, left as it is, y F32 [N, hidden] its
     * output, written, with the same bits as the forward pass.
     */
    void tracing(BlockWeights block, Tensor x, Tensor y, BlockTrace trace) {
        ForwardBuffers kept = trace.forward();
        forward.trace(block, x, y, kept, kept.sequences(device.neural(), x.rows()));
    }

    /** The gradient through one block whose trace was left by {@link #tracing}; else as {@link #block}. */
    void traced(BlockWeights block, Tensor x, Tensor d, BlockTrace trace, BackwardBuffers buffers, OutputTap tap,
            @Nullable BlockWeights into) {
        gradients(block, x, d, buffers.of(trace), tap, into);
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
        gradients(block, x, y, buffers, OutputTap.NONE, into);
    }

    private void gradients(BlockWeights block, Tensor x, Tensor d, BackwardBuffers buffers, OutputTap tap,
            @Nullable BlockWeights into) {
        ForwardBuffers kept = buffers.trace().forward();
        WholeSequences sequences = kept.sequences(device.neural(), x.rows());
        Frame f = kept.frame(block, x.rows(), sequences, true, InputTap.NONE);
        Step step = new Step(f, sequences, buffers.gradients().first(x.rows()),
                LinearGradients.of(f, device, buffers.halves(), tap, into), into);
        switch (f.spec().residual()) {
            case SERIAL, NORM_OF_SUM -> serial(step, x, d);
            case PARALLEL -> parallel(step, x, d);
        }
    }

    /** First the MLP, then attention, whose output the MLP has read. */
    private void serial(Step step, Tensor x, Tensor d) {
        Tensor dNormed = step.gradients(Scratch.D_NORMED, d);
        Tensor between = step.kept(Scratch.RESIDUAL, d);
        mlp(step, normed(step, NormSlot.BEFORE_MLP, between, Scratch.NORMED), d, 0, dNormed);
        norm(step, NormSlot.BEFORE_MLP, between, dNormed, d);

        Tensor input = normed(step, NormSlot.BEFORE_ATTENTION, x, Scratch.NORMED);
        if (step.linears().sumsLinears() && step.f().spec().has(NormSlot.BEFORE_ATTENTION)) {
            // The MLP's norm has overwritten the output of attention's norm.
            forward.before(step.f(), NormSlot.BEFORE_ATTENTION, x, Scratch.NORMED);
        }
        attention(step, input, d, 0, dNormed);
        norm(step, NormSlot.BEFORE_ATTENTION, x, dNormed, d);
    }

    /** Both have read the block's input, through one norm or two. */
    private void parallel(Step step, Tensor x, Tensor d) {
        boolean two = step.f().spec().has(NormSlot.BEFORE_MLP);
        Tensor input = normed(step, NormSlot.BEFORE_ATTENTION, x, Scratch.NORMED);
        Tensor mlpInput = two ? step.kept(Scratch.MLP_NORMED, d) : input;
        Tensor dNormed = step.gradients(Scratch.D_NORMED, d);
        Tensor dMlpNormed = two ? step.gradients(Scratch.D_MLP_NORMED, d) : dNormed;
        mlp(step, mlpInput, d, 0, dMlpNormed);
        attention(step, input, d, two ? 0 : 1, dNormed);
        if (two) {
            norm(step, NormSlot.BEFORE_MLP, x, dMlpNormed, d);
        }
        norm(step, NormSlot.BEFORE_ATTENTION, x, dNormed, d);
    }

    /** dInput = beta dInput + the gradient through the MLP, where d is that for the stream after it. */
    private void mlp(Step step, Tensor input, Tensor d, float beta, Tensor dInput) {
        Tensor dOut = forward.residual().backward(step.f(), step.scratch(), NormSlot.AFTER_MLP, d, step.into());
        switch (step.f().spec().feedForward()) {
            case FeedForward.Dense form -> forward.dense().backward(step.f(), step.scratch(), step.linears(), form,
                    DenseStep.Linears.of(step.f().spec()), input, dOut, beta, dInput);
            case FeedForward.Experts form -> forward.experts().backward(step.f(), step.scratch(), step.linears(), form,
                    input, dOut, beta, dInput, step.into());
        }
    }

    /** The same through attention. */
    private void attention(Step step, Tensor input, Tensor d, float beta, Tensor dInput) {
        Tensor dOut = forward.residual().backward(step.f(), step.scratch(), NormSlot.AFTER_ATTENTION, d, step.into());
        switch (step.f().spec().mixer()) {
            case Mixer.Attention form -> forward.attention().backward(step.f(), step.sequences(), step.scratch(),
                    step.linears(), form, input, dOut, beta, dInput, step.into());
            case Mixer.LatentAttention form -> forward.latent().backward(step.f(), step.sequences(), step.scratch(),
                    step.linears(), form, input, dOut, beta, dInput, step.into());
            case Mixer.DeltaNet form -> forward.delta().backward(step.f(), step.scratch(), step.linears(), form, input,
                    dOut, beta, dInput, step.into());
        }
    }

    /** The output of a slot's norm of x; x itself if there is none. */
    private static Tensor normed(Step step, NormSlot slot, Tensor x, Scratch where) {
        return step.f().spec().has(slot) ? step.kept(where, x) : x;
    }

    /** d += the gradient through the norm of a slot, or dNormed where there is none. */
    private void norm(Step step, NormSlot slot, Tensor x, Tensor dNormed, Tensor d) {
        NormWeights norm = step.f().weights().norm(slot);
        if (norm == null) {
            device.neural().add(d, dNormed);
            return;
        }
        forward.norms().backward(norm, x, dNormed, d, step.into() == null ? null : step.into().norm(slot));
    }

    /**
     * Shared by the steps of one block's backward pass.
     *
     * @param scratch gradients
     */
    private record Step(Frame f, WholeSequences sequences, Buffers scratch, LinearGradients linears,
            @Nullable BlockWeights into) {

        Tensor gradients(Scratch what, Tensor like) {
            return scratch.of(what, (int) like.columns());
        }

        Tensor kept(Scratch what, Tensor like) {
            return f.scratch(what, (int) like.columns());
        }
    }

    /** Scratch memory of the gradients of any of a model's blocks. */
    static void gradientNeeds(BlockSpec block, int hidden, Widths widths) {
        widths.need(Scratch.D_NORMED, hidden);
        if (block.residual() == Residual.PARALLEL && block.has(NormSlot.BEFORE_MLP)) {
            widths.need(Scratch.D_MLP_NORMED, hidden);
        }
        ResidualStep.gradientNeeds(block, hidden, widths);
        switch (block.mixer()) {
            case Mixer.Attention form -> AttentionStep.gradientNeeds(block, form, widths);
            case Mixer.LatentAttention form -> LatentAttentionStep.gradientNeeds(form, widths);
            case Mixer.DeltaNet form -> DeltaNetStep.gradientNeeds(form, widths);
        }
        switch (block.feedForward()) {
            case FeedForward.Dense form -> DenseStep.gradientNeeds(form, widths);
            case FeedForward.Experts form -> ExpertsStep.gradientNeeds(form, hidden, widths);
        }
    }
}
