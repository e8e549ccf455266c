package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import org.jspecify.annotations.Nullable;

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries, keys and values are projected from narrow
 * latents, and one rotary key is shared by all heads. In each head the rotary elements come first; scores do not depend
 * on the order.
 */
record LatentAttentionStep(Device device, LinearStep linears, NormStep norms) {

    /** Of all heads: queries, keys, values. */
    private record Parts(Tensor all, Tensor queries, Tensor keys, Tensor values) {

        static Parts of(Tensor all, Mixer.LatentAttention form) {
            int heads = form.heads() * form.headDim();
            return new Parts(all, all.columns(0, heads), all.columns(heads, heads),
                    all.columns(2L * heads, form.outputWidth()));
        }

        static int width(Mixer.LatentAttention form) {
            return 2 * form.heads() * form.headDim() + form.outputWidth();
        }

        Tensor keysAndValues() {
            return all.columns(queries.columns(), keys.columns() + values.columns());
        }
    }

    static void forwardNeeds(Mixer.LatentAttention form, Widths widths) {
        widths.need(Scratch.QUERIES_KEYS_VALUES, Parts.width(form));
        widths.need(Scratch.ATTENDED, form.outputWidth());
        widths.need(Scratch.LATENT_QUERIES, form.heads() * form.headDim());
        widths.need(Scratch.KEY_VALUE_DOWN, form.kvRank() + form.rotaryDim());
        widths.need(Scratch.KEY_VALUE_LATENT, form.kvRank());
        widths.need(Scratch.LATENT_KEYS_VALUES, made(form) + form.rotaryDim());
        if (form.queryRank() > 0) {
            widths.need(Scratch.QUERY_LATENT, form.queryRank());
        }
    }

    static void traceNeeds(Mixer.LatentAttention form, Widths widths) {
        if (form.queryRank() > 0) {
            widths.need(Scratch.QUERY_LATENT_RAW, form.queryRank());
        }
    }

    static void gradientNeeds(Mixer.LatentAttention form, Widths widths) {
        widths.need(Scratch.D_QUERIES_KEYS_VALUES, Parts.width(form));
        widths.need(Scratch.D_ATTENDED, form.outputWidth());
        widths.need(Scratch.D_LATENT_QUERIES, form.heads() * form.headDim());
        widths.need(Scratch.D_LATENT_KEYS_VALUES, made(form));
        widths.need(Scratch.D_KEY_VALUE_DOWN, form.kvRank() + form.rotaryDim());
        widths.need(Scratch.D_KEY_VALUE_LATENT, form.kvRank());
        if (form.queryRank() > 0) {
            widths.need(Scratch.D_QUERY_LATENT, 2 * form.queryRank());
        }
    }

    /** Width of the widest fp16/bf16 matmul input. */
    static int widestFactor(Mixer.LatentAttention form) {
        return Parts.width(form);
    }

    /** Columns of each head's plain key elements and values. */
    private static int made(Mixer.LatentAttention form) {
        return form.heads() * (form.plainDim() + form.valueDim());
    }

    /** False when the tap stopped it. */
    boolean forward(Frame f, Mixer.LatentAttention form, Tensor input, Outlet out) {
        Tensor x = f.factor(device.neural(), input);
        if (!f.tap().at(InputSite.ATTENTION_INPUT, x)) {
            return false;
        }
        Tensor down = f.scratch(Scratch.KEY_VALUE_DOWN, form.kvRank() + form.rotaryDim());
        linears.forward(f.weights().of(Projection.KEY_VALUE_DOWN), x, 0, down);
        Parts parts = Parts.of(f.scratch(Scratch.QUERIES_KEYS_VALUES, Parts.width(form)), form);
        if (!queries(f, form, x, parts) || !keysAndValues(f, form, down, parts)) {
            return false;
        }
        Parts factors = Parts.of(f.factor(device.neural(), parts.all()), form);
        Tensor attended = f.scratch(Scratch.ATTENDED, form.outputWidth());
        f.context().attendLatent(form, factors.queries(), factors.keys(), factors.values(), attended);

        Tensor found = f.factor(device.neural(), attended);
        if (!f.tap().at(InputSite.ATTENTION_OUTPUT, found)) {
            return false;
        }
        linears.forward(f.weights().of(Projection.ATTENTION_OUTPUT), found, out.beta(), out.target());
        return true;
    }

    private boolean queries(Frame f, Mixer.LatentAttention form, Tensor x, Parts parts) {
        Tensor onDisk = f.scratch(Scratch.LATENT_QUERIES, form.heads() * form.headDim());
        if (form.queryRank() == 0) {
            linears.forward(f.weights().of(Projection.QUERY), x, 0, onDisk);
        } else {
            Tensor latent = f.scratch(Scratch.QUERY_LATENT, form.queryRank());
            linears.forward(f.weights().of(Projection.QUERY_DOWN), x, 0, latent);
            if (f.keeps()) {
                device.matrix().copy(latent, f.scratch(Scratch.QUERY_LATENT_RAW, form.queryRank()));
            }
            norm(f, NormSlot.QUERY_LATENT, latent);
            Tensor factor = f.factor(device.neural(), latent);
            if (!f.tap().at(InputSite.QUERY_LATENT, factor)) {
                return false;
            }
            linears.forward(f.weights().of(Projection.QUERY_UP), factor, 0, onDisk);
        }
        device.matrix().gatherColumns(onDisk, f.tables().orders(form).queries(), parts.queries());
        f.context().rotate(form.position(), form.headDim(), parts.queries());
        return true;
    }

    private boolean keysAndValues(Frame f, Mixer.LatentAttention form, Tensor down, Parts parts) {
        Tensor latent = f.scratch(Scratch.KEY_VALUE_LATENT, form.kvRank());
        Tensor makings = f.scratch(Scratch.LATENT_KEYS_VALUES, made(form) + form.rotaryDim());
        Tensor turning = makings.columns(made(form), form.rotaryDim());
        device.matrix().copy(down.columns(form.kvRank(), form.rotaryDim()), turning);
        f.context().rotate(form.position(), form.rotaryDim(), turning);
        device.matrix().copy(down.columns(0, form.kvRank()), latent);
        norm(f, NormSlot.KEY_VALUE_LATENT, latent);
        Tensor factor = f.factor(device.neural(), latent);
        if (!f.tap().at(InputSite.KEY_VALUE_LATENT, factor)) {
            return false;
        }
        linears.forward(f.weights().of(Projection.KEY_VALUE_UP), factor, 0, makings.columns(0, made(form)));
        device.matrix().gatherColumns(makings, f.tables().orders(form).keysValues(), parts.keysAndValues());
        return true;
    }

    private void norm(Frame f, NormSlot slot, Tensor x) {
        NormWeights norm = f.weights().norm(slot);
        if (norm != null) {
            norms.inPlace(norm, x);
        }
    }

    /** The mirror of forward; arguments as those of AttentionStep. */
    void backward(Frame f, WholeSequences sequences, Buffers gradients, LinearGradients linearGradients,
            Mixer.LatentAttention form, Tensor input, Tensor dOut, float beta, Tensor dInput,
            @Nullable BlockWeights into) {
        Parts parts = Parts.of(f.scratch(Scratch.QUERIES_KEYS_VALUES, Parts.width(form)), form);
        Parts d = Parts.of(gradients.of(Scratch.D_QUERIES_KEYS_VALUES, Parts.width(form)), form);
        Tensor attended = f.scratch(Scratch.ATTENDED, form.outputWidth());
        Tensor dAttended = gradients.of(Scratch.D_ATTENDED, form.outputWidth());
        linearGradients.linear(f.spec().linear(Projection.ATTENTION_OUTPUT), attended, dOut, 0, dAttended);
        device.gradient().attentionGradient(
                new Attended(parts.queries(), parts.keys(), parts.values(), null, null, sequences.shape(form),
                        attended),
                dAttended, d.queries(), d.keys(), d.values(), null);
        float then = queriesBackward(f, sequences, gradients, linearGradients, form, input, d, beta, dInput, into);
        keysAndValuesBackward(f, sequences, gradients, linearGradients, form, input, d, then, dInput, into);
    }

    private float queriesBackward(Frame f, WholeSequences sequences, Buffers gradients,
            LinearGradients linearGradients, Mixer.LatentAttention form, Tensor input, Parts d, float beta,
            Tensor dInput, @Nullable BlockWeights into) {
        sequences.rotateBack(device.gradient(), form.position(), form.headDim(), d.queries());
        Tensor onDisk = gradients.of(Scratch.D_LATENT_QUERIES, form.heads() * form.headDim());
        device.matrix().gatherColumns(d.queries(), f.tables().orders(form).queriesBack(), onDisk);
        if (form.queryRank() == 0) {
            linearGradients.linear(f.spec().linear(Projection.QUERY), input, onDisk, beta, dInput);
            return 1;
        }
        Tensor both = gradients.of(Scratch.D_QUERY_LATENT, 2 * form.queryRank());
        Tensor dNormed = both.columns(0, form.queryRank());
        Tensor dLatent = both.columns(form.queryRank(), form.queryRank());
        linearGradients.linear(f.spec().linear(Projection.QUERY_UP),
                f.scratch(Scratch.QUERY_LATENT, form.queryRank()), onDisk, 0, dNormed);
        normBackward(f, NormSlot.QUERY_LATENT, f.scratch(Scratch.QUERY_LATENT_RAW, form.queryRank()), dNormed, dLatent,
                into);
        linearGradients.linear(f.spec().linear(Projection.QUERY_DOWN), input, dLatent, beta, dInput);
        return 1;
    }

    private void keysAndValuesBackward(Frame f, WholeSequences sequences, Buffers gradients,
            LinearGradients linearGradients, Mixer.LatentAttention form, Tensor input, Parts d, float beta,
            Tensor dInput, @Nullable BlockWeights into) {
        Tensor dDown = gradients.of(Scratch.D_KEY_VALUE_DOWN, form.kvRank() + form.rotaryDim());
        Tensor dTurning = dDown.columns(form.kvRank(), form.rotaryDim());
        device.matrix().fill(dTurning, 0);
        for (int head = 0; head < form.heads(); head++) {
            device.neural().add(dTurning, d.keys().columns((long) head * form.headDim(), form.rotaryDim()));
        }
        sequences.rotateBack(device.gradient(), form.position(), form.rotaryDim(), dTurning);
        Tensor dMade = gradients.of(Scratch.D_LATENT_KEYS_VALUES, made(form));
        device.matrix().gatherColumns(d.keysAndValues(), f.tables().orders(form).madeBack(), dMade);
        Tensor dNormed = gradients.of(Scratch.D_KEY_VALUE_LATENT, form.kvRank());
        linearGradients.linear(f.spec().linear(Projection.KEY_VALUE_UP),
                f.scratch(Scratch.KEY_VALUE_LATENT, form.kvRank()), dMade, 0, dNormed);
        normBackward(f, NormSlot.KEY_VALUE_LATENT,
                f.scratch(Scratch.KEY_VALUE_DOWN, form.kvRank() + form.rotaryDim()).columns(0, form.kvRank()), dNormed,
                dDown.columns(0, form.kvRank()), into);
        linearGradients.linear(f.spec().linear(Projection.KEY_VALUE_DOWN), input, dDown, beta, dInput);
    }

    /** dx, written. */
    private void normBackward(Frame f, NormSlot slot, Tensor x, Tensor dNormed, Tensor dx,
            @Nullable BlockWeights into) {
        NormWeights norm = f.weights().norm(slot);
        if (norm == null) {
            device.matrix().copy(dNormed, dx);
            return;
        }
        device.matrix().fill(dx, 0);
        norms.groupsBackward(norm, x, dNormed, dx, into == null ? null : into.norm(slot));
    }
}
