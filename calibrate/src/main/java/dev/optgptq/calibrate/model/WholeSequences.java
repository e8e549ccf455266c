package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/** Rows that are whole sequences of one length, one after the other: row r has position r % T, and sees its own sequence. */
record WholeSequences(NeuralOps neural, Tables tables) implements TokenContext {

    @Override
    public void rotate(Position.Rotary form, int headDim, Tensor x) {
        Tables.Rotation rotation = tables.rotation(form);
        neural.rotary(x, headDim, rotation.cos(), rotation.sin(), form.layout());
    }

    @Override
    public void rotateTo(Position.Rotary form, int headDim, Tensor x, Tensor out) {
        Tables.Rotation rotation = tables.rotation(form);
        neural.rotaryTo(x, headDim, rotation.cos(), rotation.sin(), form.layout(), out);
    }

    @Override
    public void attend(AttentionInputs in, Tensor out, @Nullable Tensor rounded) {
        neural.attention(in.queries(), in.keys(), in.values(), slopes(in.form()), in.sinks(), shape(in.form()), out);
        if (rounded != null) {
            neural.convert(out, rounded);
        }
    }

    @Override
    public void attendLatent(Mixer.LatentAttention form, Tensor queries, Tensor keys, Tensor values, Tensor out) {
        neural.attention(queries, keys, values, null, null, shape(form), out);
    }

    @Override
    public int sequenceLength() {
        return tables.sequenceLength();
    }

    AttentionShape shape(Mixer.LatentAttention form) {
        return new AttentionShape(tables.sequenceLength(), form.heads(), form.heads(), form.headDim(), form.valueDim(),
                form.scale(), 0, 0);
    }

    /** The gradient of rotate, in place. */
    void rotateBack(GradientOps gradient, Position.Rotary form, int headDim, Tensor d) {
        Tables.Rotation rotation = tables.rotation(form);
        gradient.rotaryGradient(d, headDim, rotation.cos(), rotation.sin(), form.layout());
    }

    /** F32 [1, heads], where the form has ALiBi. */
    @Nullable
    Tensor slopes(Mixer.Attention form) {
        return form.position() instanceof Position.Alibi alibi ? tables.slopes(alibi, form.heads()) : null;
    }

    AttentionShape shape(Mixer.Attention form) {
        return new AttentionShape(tables.sequenceLength(), form.heads(), form.kvHeads(), form.headDim(), form.headDim(),
                form.scale(), form.softcap(), form.window());
    }
}
