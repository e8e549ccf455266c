package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.DeltaOps.DeltaGradients;
import dev.optgptq.kernels.ops.DeltaOps.DeltaInputs;
import dev.optgptq.kernels.ops.DeltaOps.DeltaShape;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A gated deltanet (arXiv 2412.06464) as in Qwen3-Next: project, convolve, normalise queries and keys to length 1, run
 * the rule, normalise every head, gate, project.
 */
record DeltaNetStep(Device device, LinearStep linears, NormStep norms) {

    /** Added to the sum of squares under the root that queries and keys are divided by. */
    private static final float LENGTH_EPS = 1e-6f;

    /**
     * What is projected: queries, keys and values, which are convolved together, and the gate of the output.
     *
     * @param mixed queries, keys and values
     */
    private record Inputs(Tensor all, Tensor mixed, Tensor gate) {
        static Inputs of(Tensor all, Mixer.DeltaNet form) {
            return new Inputs(all, all.columns(0, mixedWidth(form)), all.columns(mixedWidth(form), form.valueWidth()));
        }
    }

    /** Queries, keys and values after the convolution. */
    private record Parts(Tensor all, Tensor queries, Tensor keys, Tensor values) {
        static Parts of(Tensor all, Mixer.DeltaNet form) {
            int keys = form.keyWidth();
            return new Parts(all, all.columns(0, keys), all.columns(keys, keys),
                    all.columns(2L * keys, form.valueWidth()));
        }
    }

    private static int mixedWidth(Mixer.DeltaNet form) {
        return 2 * form.keyWidth() + form.valueWidth();
    }

    static void forwardNeeds(Mixer.DeltaNet form, Widths widths) {
        widths.need(Scratch.DELTA_INPUTS, mixedWidth(form) + form.valueWidth());
        widths.need(Scratch.DELTA_MIXED, mixedWidth(form));
        widths.need(Scratch.DELTA_SCALARS, 2 * form.valueHeads());
        widths.need(Scratch.DELTA_DECAYS, 2 * form.valueHeads());
        widths.need(Scratch.ATTENDED, form.valueWidth());
    }

    static void traceNeeds(Mixer.DeltaNet form, Widths widths) {
        widths.need(Scratch.DELTA_CONVOLVED, mixedWidth(form));
        widths.need(Scratch.DELTA_FOUND, form.valueWidth());
        widths.need(Scratch.DELTA_NORMED, form.valueWidth());
        widths.need(Scratch.GATED, form.valueWidth());
    }

    static void gradientNeeds(Mixer.DeltaNet form, Widths widths) {
        widths.need(Scratch.D_ATTENDED, form.valueWidth());
        widths.need(Scratch.D_DELTA_NORMED, form.valueWidth());
        widths.need(Scratch.D_DELTA_INPUTS, mixedWidth(form) + form.valueWidth());
        widths.need(Scratch.D_DELTA_MIXED, mixedWidth(form));
        widths.need(Scratch.D_DELTA_SCALARS, 2 * form.valueHeads());
        widths.need(Scratch.D_DELTA_DECAYS, 2 * form.valueHeads());
        widths.need(Scratch.STAGE, mixedWidth(form));
    }

    /** False when the tap stopped it. */
    boolean forward(Frame f, Mixer.DeltaNet form, Tensor input, Outlet out) {
        Tensor x = f.factor(device.neural(), input);
        if (!f.tap().at(InputSite.ATTENTION_INPUT, x)) {
            return false;
        }
        Inputs inputs = project(f, form, x);
        DeltaInputs rule = new DeltaInputs(mix(f, form, inputs).queries(), mixed(f, form).keys(),
                mixed(f, form).values(),
                decay(f, form), beta(f, form), shape(form, f.context().sequenceLength()));
        Tensor found = f.scratch(Scratch.ATTENDED, form.valueWidth());
        device.delta().gatedDeltaRule(rule, found);
        if (f.keeps()) {
            device.matrix().copy(found, f.scratch(Scratch.DELTA_FOUND, form.valueWidth()));
        }
        norms.inPlace(norm(f), found);
        Tensor gated = inputs.gate();
        if (f.keeps()) {
            device.matrix().copy(found, f.scratch(Scratch.DELTA_NORMED, form.valueWidth()));
            gated = f.scratch(Scratch.GATED, form.valueWidth());
            device.matrix().copy(inputs.gate(), gated);
        }
        device.neural().activateGated(Activation.SILU, gated, found);
        Tensor factor = f.factor(device.neural(), gated);
        if (!f.tap().at(InputSite.ATTENTION_OUTPUT, factor)) {
            return false;
        }
        linears.forward(f.weights().of(Projection.ATTENTION_OUTPUT), factor, out.beta(), out.target());
        return true;
    }

    private static NormWeights norm(Frame f) {
        return Objects.requireNonNull(f.weights().norm(NormSlot.DELTA), "a deltanet without its norm");
    }

    private static DeltaShape shape(Mixer.DeltaNet form, int sequenceLength) {
        return new DeltaShape(sequenceLength, form.keyHeads(), form.valueHeads(), form.keyDim(), form.valueDim(),
                (float) (1 / Math.sqrt(form.keyDim())));
    }

    private Inputs project(Frame f, Mixer.DeltaNet form, Tensor x) {
        Inputs inputs = Inputs.of(f.scratch(Scratch.DELTA_INPUTS, mixedWidth(form) + form.valueWidth()), form);
        Tensor scalars = f.scratch(Scratch.DELTA_SCALARS, 2 * form.valueHeads());
        linears.ifThere(f, Projection.DELTA_QUERY_KEY_VALUE, x, inputs.mixed());
        linears.ifThere(f, Projection.DELTA_GATE, x, inputs.gate());
        linears.ifThere(f, Projection.DELTA_QUERY_KEY_VALUE_GATE, x, inputs.all());
        linears.ifThere(f, Projection.DELTA_BETA, x, scalars.columns(0, form.valueHeads()));
        linears.ifThere(f, Projection.DELTA_DECAY, x, scalars.columns(form.valueHeads(), form.valueHeads()));
        linears.ifThere(f, Projection.DELTA_BETA_DECAY, x, scalars);
        return inputs;
    }

    private static Parts mixed(Frame f, Mixer.DeltaNet form) {
        return Parts.of(f.scratch(Scratch.DELTA_MIXED, mixedWidth(form)), form);
    }

    /** Convolved, activated, queries and keys of length 1. */
    private Parts mix(Frame f, Mixer.DeltaNet form, Inputs inputs) {
        Parts parts = mixed(f, form);
        device.delta().causalConvolution(inputs.mixed(), convolution(f), null, f.context().sequenceLength(),
                parts.all());
        if (f.keeps()) {
            device.matrix().copy(parts.all(), f.scratch(Scratch.DELTA_CONVOLVED, mixedWidth(form)));
        }
        device.neural().activate(Activation.SILU, parts.all());
        Tensor unit = f.tables().unit(form.keyDim());
        float eps = LENGTH_EPS / form.keyDim();
        device.neural().rmsNormGroups(parts.queries(), unit, form.keyDim(), eps, parts.queries());
        device.neural().rmsNormGroups(parts.keys(), unit, form.keyDim(), eps, parts.keys());
        return parts;
    }

    private static Tensor convolution(Frame f) {
        return Objects.requireNonNull(f.weights().parameter(Parameter.CONVOLUTION));
    }

    private Tensor beta(Frame f, Mixer.DeltaNet form) {
        Tensor beta = f.scratch(Scratch.DELTA_DECAYS, 2 * form.valueHeads()).columns(0, form.valueHeads());
        device.matrix().copy(scalars(f, form, 0), beta);
        device.neural().activate(Activation.SIGMOID, beta);
        return beta;
    }

    private Tensor decay(Frame f, Mixer.DeltaNet form) {
        Tensor decay = f.scratch(Scratch.DELTA_DECAYS, 2 * form.valueHeads()).columns(form.valueHeads(),
                form.valueHeads());
        device.delta().deltaDecay(scalars(f, form, 1), Objects.requireNonNull(f.weights().parameter(Parameter.DECAY)),
                Objects.requireNonNull(f.weights().parameter(Parameter.STEP_BIAS)), decay);
        return decay;
    }

    /** The input of beta, or of the decay. */
    private static Tensor scalars(Frame f, Mixer.DeltaNet form, int which) {
        return f.scratch(Scratch.DELTA_SCALARS, 2 * form.valueHeads()).columns((long) which * form.valueHeads(),
                form.valueHeads());
    }

    /** The mirror of forward; arguments as those of AttentionStep. */
    void backward(Frame f, Buffers gradients, LinearGradients linearGradients, Mixer.DeltaNet form, Tensor input,
            Tensor dOut, float beta, Tensor dInput, @Nullable BlockWeights into) {
        Inputs inputs = Inputs.of(f.scratch(Scratch.DELTA_INPUTS, mixedWidth(form) + form.valueWidth()), form);
        Inputs d = Inputs.of(gradients.of(Scratch.D_DELTA_INPUTS, mixedWidth(form) + form.valueWidth()), form);
        Tensor dGated = gradients.of(Scratch.D_ATTENDED, form.valueWidth());
        linearGradients.linear(f.spec().linear(Projection.ATTENTION_OUTPUT),
                f.scratch(Scratch.GATED, form.valueWidth()), dOut, 0, dGated);

        Tensor dNormed = f.scratch(Scratch.DELTA_NORMED, form.valueWidth());
        device.matrix().copy(inputs.gate(), d.gate());
        device.gradient().activateGatedGradient(Activation.SILU, d.gate(), dNormed, dGated);
        Tensor dFound = gradients.of(Scratch.D_DELTA_NORMED, form.valueWidth());
        device.matrix().fill(dFound, 0);
        norms.groupsBackward(norm(f), f.scratch(Scratch.DELTA_FOUND, form.valueWidth()), dNormed, dFound,
                into == null ? null : into.norm(NormSlot.DELTA));

        Tensor dScalars = rule(f, gradients, form, dFound, into);
        convolution(f, gradients, form, inputs, d, into);
        project(linearGradients, form, input, d, dScalars, beta, dInput);
    }

    /** The gradients for the scalars; those for queries, keys and values are then in D_DELTA_MIXED. */
    private Tensor rule(Frame f, Buffers gradients, Mixer.DeltaNet form, Tensor dFound, @Nullable BlockWeights into) {
        int heads = form.valueHeads();
        Parts parts = mixed(f, form);
        Parts d = Parts.of(gradients.of(Scratch.D_DELTA_MIXED, mixedWidth(form)), form);
        Tensor both = gradients.of(Scratch.D_DELTA_DECAYS, 2 * heads);
        Tensor dBeta = both.columns(0, heads);
        Tensor dDecay = both.columns(heads, heads);
        Tensor kept = f.scratch(Scratch.DELTA_DECAYS, 2 * heads);
        device.delta().gatedDeltaRuleGradient(
                new DeltaInputs(parts.queries(), parts.keys(), parts.values(), kept.columns(heads, heads),
                        kept.columns(0, heads), shape(form, f.context().sequenceLength())),
                dFound, new DeltaGradients(d.queries(), d.keys(), d.values(), dDecay, dBeta));
        Tensor dScalars = gradients.of(Scratch.D_DELTA_SCALARS, 2 * heads);
        Tensor dB = dScalars.columns(0, heads);
        device.matrix().copy(scalars(f, form, 0), dB);
        device.gradient().activateGradient(Activation.SIGMOID, dB, dBeta);
        device.delta().deltaDecayGradient(scalars(f, form, 1),
                Objects.requireNonNull(f.weights().parameter(Parameter.DECAY)),
                Objects.requireNonNull(f.weights().parameter(Parameter.STEP_BIAS)), dDecay,
                dScalars.columns(heads, heads), into == null ? null : into.parameter(Parameter.DECAY),
                into == null ? null : into.parameter(Parameter.STEP_BIAS));
        return dScalars;
    }

    /** Through the lengths, the activation and the convolution. */
    private void convolution(Frame f, Buffers gradients, Mixer.DeltaNet form, Inputs inputs, Inputs d,
            @Nullable BlockWeights into) {
        Parts dMixed = Parts.of(gradients.of(Scratch.D_DELTA_MIXED, mixedWidth(form)), form);
        Parts activated = Parts.of(f.scratch(Scratch.DELTA_MIXED, mixedWidth(form)), form);
        Tensor convolved = f.scratch(Scratch.DELTA_CONVOLVED, mixedWidth(form));
        device.matrix().copy(convolved, activated.all());
        device.neural().activate(Activation.SILU, activated.all());
        Parts dActivated = Parts.of(gradients.of(Scratch.STAGE, mixedWidth(form)), form);
        device.matrix().copy(dMixed.all(), dActivated.all());
        length(f, form, activated.queries(), dMixed.queries(), dActivated.queries());
        length(f, form, activated.keys(), dMixed.keys(), dActivated.keys());
        // The convolution's output becomes the gradient for it.
        device.gradient().activateGradient(Activation.SILU, convolved, dActivated.all());
        device.delta().causalConvolutionGradient(inputs.mixed(), convolution(f), f.context().sequenceLength(),
                convolved,
                d.mixed(), into == null ? null : into.parameter(Parameter.CONVOLUTION), null);
    }

    private void length(Frame f, Mixer.DeltaNet form, Tensor x, Tensor dNormed, Tensor dx) {
        device.matrix().fill(dx, 0);
        device.gradient().rmsNormGroupsGradient(x, f.tables().unit(form.keyDim()), form.keyDim(),
                LENGTH_EPS / form.keyDim(), dNormed, dx, null);
    }

    private static void project(LinearGradients linears, Mixer.DeltaNet form, Tensor input, Inputs d, Tensor dScalars,
            float beta, Tensor dInput) {
        int heads = form.valueHeads();
        float then = linears.ifThere(Projection.DELTA_QUERY_KEY_VALUE, input, d.mixed(), beta, dInput);
        then = linears.ifThere(Projection.DELTA_GATE, input, d.gate(), then, dInput);
        then = linears.ifThere(Projection.DELTA_QUERY_KEY_VALUE_GATE, input, d.all(), then, dInput);
        then = linears.ifThere(Projection.DELTA_BETA, input, dScalars.columns(0, heads), then, dInput);
        then = linears.ifThere(Projection.DELTA_DECAY, input, dScalars.columns(heads, heads), then, dInput);
        linears.ifThere(Projection.DELTA_BETA_DECAY, input, dScalars, then, dInput);
    }
}
