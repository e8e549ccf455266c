package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.model.LinearStep.Target;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import org.jspecify.annotations.Nullable;

/** Attention over heads: project, clip and normalise, rotate, attend, gate, project. */
record AttentionStep(Device device, LinearStep linears, NormStep norms) {

    /**
     * Queries, gates, keys and values in one matrix.
     *
     * @param gates of no columns where there are none
     */
    private record Parts(Tensor all, Tensor queries, Tensor gates, Tensor keys, Tensor values) {

        static Parts of(Tensor all, Mixer.Attention form) {
            int queries = form.queryWidth();
            int gates = form.gated() ? queries : 0;
            int keys = form.kvWidth();
            return new Parts(all, all.columns(0, queries), all.columns(queries, gates),
                    all.columns(queries + gates, keys), all.columns(queries + gates + keys, keys));
        }

        static int width(Mixer.Attention form) {
            return (form.gated() ? 2 : 1) * form.queryWidth() + 2 * form.kvWidth();
        }

        /** Where there are no gates between them. */
        Tensor queriesAndKeys() {
            return all.columns(0, queries.columns() + keys.columns());
        }

        Tensor queriesAndGates() {
            return all.columns(0, queries.columns() + gates.columns());
        }
    }

    static void forwardNeeds(BlockSpec block, Mixer.Attention form, Widths widths) {
        widths.need(Scratch.QUERIES_KEYS_VALUES, Parts.width(form));
        widths.need(Scratch.ATTENDED, form.queryWidth());
        block.linears().forEach(linear -> LinearStep.needs(linear, widths));
    }

    static void traceNeeds(BlockSpec block, Mixer.Attention form, Widths widths) {
        if (isPrepared(block, form)) {
            widths.need(Scratch.RAW, Parts.width(form));
        }
        if (form.gated()) {
            widths.need(Scratch.GATED, form.queryWidth());
        }
    }

    static void gradientNeeds(BlockSpec block, Mixer.Attention form, Widths widths) {
        widths.need(Scratch.D_QUERIES_KEYS_VALUES, Parts.width(form));
        widths.need(Scratch.D_ATTENDED, form.queryWidth());
        if (isPrepared(block, form)) {
            widths.need(Scratch.D_RAW, Parts.width(form));
            widths.need(Scratch.STAGE, Parts.width(form));
        }
    }

    /** Width of the widest fp16/bf16 matmul input. */
    static int widestFactor(Mixer.Attention form) {
        return Parts.width(form);
    }

    /** Whether queries and keys are clipped or normalised before they are turned. */
    private static boolean isPrepared(BlockSpec block, Mixer.Attention form) {
        return form.clip().limit() > 0 || block.has(NormSlot.QUERY) || block.has(NormSlot.KEY);
    }

    /**
     * False when the tap stopped it.
     *
     * @param x [N, hidden] in the matmul dtype
     */
    boolean forward(Frame f, Mixer.Attention form, Tensor x, Outlet out) {
        if (!f.tap().at(InputSite.ATTENTION_INPUT, x)) {
            return false;
        }
        Parts parts = project(f, form, x);
        prepare(f, form, parts);
        Parts factors = turn(f, form, parts);
        Tensor rounded = form.gated() || f.keeps() ? null : f.narrow(x.rows(), form.queryWidth());
        Tensor attended = attend(f, form, factors, rounded);

        Tensor found = rounded != null ? rounded : f.factor(device.neural(), gate(f, form, parts, attended));
        if (!f.tap().at(InputSite.ATTENTION_OUTPUT, found)) {
            return false;
        }
        linears.forward(f.weights().of(Projection.ATTENTION_OUTPUT), found, out.beta(), out.target());
        return true;
    }

    private Parts project(Frame f, Mixer.Attention form, Tensor x) {
        Tensor all = f.scratch(Scratch.QUERIES_KEYS_VALUES, Parts.width(form));
        boolean keepsRaw = f.keeps() && isPrepared(f.spec(), form);
        Parts raw = Parts.of(keepsRaw ? f.scratch(Scratch.RAW, Parts.width(form)) : all, form);
        linears.together(f, x, Target.of(f, Projection.QUERY, raw.queries()),
                Target.of(f, Projection.KEY, raw.keys()), Target.of(f, Projection.VALUE, raw.values()));
        linears.ifThere(f, Projection.QUERY_KEY_VALUE, x, raw.all());
        linears.ifThere(f, Projection.QUERY_GATE, x, raw.queriesAndGates());
        if (keepsRaw) {
            device.matrix().copy(raw.all(), all);
        }
        return Parts.of(all, form);
    }

    private void prepare(Frame f, Mixer.Attention form, Parts parts) {
        if (form.clip().beforeNorm()) {
            clip(form, parts);
        }
        norm(f, NormSlot.QUERY, parts.queries());
        norm(f, NormSlot.KEY, parts.keys());
        if (!form.clip().beforeNorm()) {
            clip(form, parts);
        }
    }

    private void clip(Mixer.Attention form, Parts parts) {
        if (form.clip().limit() > 0) {
            device.neural().clamp(parts.all(), form.clip().limit());
        }
    }

    private void norm(Frame f, NormSlot slot, Tensor x) {
        NormWeights norm = f.weights().norm(slot);
        if (norm != null) {
            norms.inPlace(norm, x);
        }
    }

    /** What attends: queries and keys turned, and all rounded to the matmul dtype, unless the context does that. */
    private Parts turn(Frame f, Mixer.Attention form, Parts parts) {
        if (f.context().turns()) {
            return parts;
        }
        if (form.position() instanceof Position.Rotary rotary) {
            if (f.roundsOnce() && !form.gated()) {
                Parts rounded = Parts.of(f.rounded(parts.all()), form);
                f.context().rotateTo(rotary, form.headDim(), parts.queriesAndKeys(), rounded.queriesAndKeys());
                device.neural().convert(parts.values(), rounded.values());
                return rounded;
            }
            if (form.gated()) {
                f.context().rotate(rotary, form.headDim(), parts.queries());
                f.context().rotate(rotary, form.headDim(), parts.keys());
            } else {
                f.context().rotate(rotary, form.headDim(), parts.queriesAndKeys());
            }
        }
        return Parts.of(f.factor(device.neural(), parts.all()), form);
    }

    private Tensor attend(Frame f, Mixer.Attention form, Parts factors, @Nullable Tensor rounded) {
        Tensor attended = f.scratch(Scratch.ATTENDED, form.queryWidth());
        f.context().attend(new AttentionInputs(f.spec(), form, factors.queries(), factors.keys(), factors.values(),
                f.weights().parameter(Parameter.SINKS)), attended, rounded);
        return attended;
    }

    private Tensor gate(Frame f, Mixer.Attention form, Parts parts, Tensor attended) {
        if (!form.gated()) {
            return attended;
        }
        Tensor gated = attended;
        if (f.keeps()) {
            gated = f.scratch(Scratch.GATED, form.queryWidth());
            device.matrix().copy(attended, gated);
        }
        device.neural().gateSigmoid(gated, parts.gates());
        return gated;
    }

    /**
     * The mirror of forward: dInput = beta dInput + the gradient for the input, of dOut F32 [N, hidden], the gradient
     * for the step's output.
     *
     * @param input forward's input, read only for gradients of linears
     */
    void backward(Frame f, WholeSequences sequences, Buffers gradients, LinearGradients linearGradients,
            Mixer.Attention form, Tensor input, Tensor dOut, float beta, Tensor dInput, @Nullable BlockWeights into) {
        Parts parts = Parts.of(f.scratch(Scratch.QUERIES_KEYS_VALUES, Parts.width(form)), form);
        Parts d = Parts.of(gradients.of(Scratch.D_QUERIES_KEYS_VALUES, Parts.width(form)), form);
        Tensor attended = f.scratch(Scratch.ATTENDED, form.queryWidth());
        Tensor dAttended = gradients.of(Scratch.D_ATTENDED, form.queryWidth());

        linearGradients.linear(f.spec().linear(Projection.ATTENTION_OUTPUT),
                form.gated() ? f.scratch(Scratch.GATED, form.queryWidth()) : attended, dOut, 0, dAttended);
        if (form.gated()) {
            device.matrix().copy(parts.gates(), d.gates());
            device.gradient().gateSigmoidGradient(attended, d.gates(), dAttended);
        }
        Tensor sinks = f.weights().parameter(Parameter.SINKS);
        device.gradient().attentionGradient(
                new Attended(parts.queries(), parts.keys(), parts.values(), sequences.slopes(form), sinks,
                        sequences.shape(form), attended),
                dAttended, d.queries(), d.keys(), d.values(),
                into == null || sinks == null ? null : into.parameter(Parameter.SINKS));
        if (form.position() instanceof Position.Rotary rotary) {
            sequences.rotateBack(device.gradient(), rotary, form.headDim(), d.queries());
            sequences.rotateBack(device.gradient(), rotary, form.headDim(), d.keys());
        }
        Parts dRaw = isPrepared(f.spec(), form) ? unprepare(f, gradients, form, d, into) : d;
        float then = linearGradients.ifThere(Projection.QUERY, input, dRaw.queries(), beta, dInput);
        then = linearGradients.ifThere(Projection.KEY, input, dRaw.keys(), then, dInput);
        then = linearGradients.ifThere(Projection.VALUE, input, dRaw.values(), then, dInput);
        then = linearGradients.ifThere(Projection.QUERY_KEY_VALUE, input, dRaw.all(), then, dInput);
        linearGradients.ifThere(Projection.QUERY_GATE, input, dRaw.queriesAndGates(), then, dInput);
    }

    /** The gradient through clipping and norms, in reverse. */
    private Parts unprepare(Frame f, Buffers gradients, Mixer.Attention form, Parts d, @Nullable BlockWeights into) {
        Parts raw = Parts.of(f.scratch(Scratch.RAW, Parts.width(form)), form);
        // The inputs of the norms, and later their outputs.
        Parts stage = Parts.of(gradients.of(Scratch.STAGE, Parts.width(form)), form);
        Parts dRaw = Parts.of(gradients.of(Scratch.D_RAW, Parts.width(form)), form);
        device.matrix().copy(raw.all(), stage.all());
        if (!form.clip().beforeNorm() && form.clip().limit() > 0) {
            norm(f, NormSlot.QUERY, stage.queries());
            norm(f, NormSlot.KEY, stage.keys());
            device.gradient().clampGradient(stage.all(), form.clip().limit(), d.all());
            device.matrix().copy(raw.all(), stage.all());
        }
        if (form.clip().beforeNorm()) {
            clip(form, stage);
        }
        device.matrix().copy(d.all(), dRaw.all());
        normBackward(f, NormSlot.QUERY, stage.queries(), d.queries(), dRaw.queries(), into);
        normBackward(f, NormSlot.KEY, stage.keys(), d.keys(), dRaw.keys(), into);
        if (form.clip().beforeNorm() && form.clip().limit() > 0) {
            device.gradient().clampGradient(raw.all(), form.clip().limit(), dRaw.all());
        }
        return dRaw;
    }

    private void normBackward(Frame f, NormSlot slot, Tensor x, Tensor dNormed, Tensor dx,
            @Nullable BlockWeights into) {
        NormWeights norm = f.weights().norm(slot);
        if (norm != null) {
            device.matrix().fill(dx, 0);
            norms.groupsBackward(norm, x, dNormed, dx, into == null ? null : into.norm(slot));
        }
    }
}
