package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedDeltaOps implements DeltaOps {

    private final DeltaOps ops;

    public CheckedDeltaOps(DeltaOps ops) {
        this.ops = ops;
    }

    @Override
    public void causalConvolution(Tensor x, Tensor weight, @Nullable Tensor bias, int sequenceLength, Tensor out) {
        convolution("causalConvolution", x, weight, sequenceLength);
        row("causalConvolution", "bias", bias, x.columns());
        Arguments.f32("causalConvolution", "out", out, x.rows(), x.columns());
        ops.causalConvolution(x, weight, bias, sequenceLength, out);
    }

    @Override
    public void causalConvolutionGradient(Tensor x, Tensor weight, int sequenceLength, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        String op = "causalConvolutionGradient";
        convolution(op, x, weight, sequenceLength);
        Arguments.f32(op, "dOut", dOut, x.rows(), x.columns());
        Arguments.f32(op, "dx", dx, x.rows(), x.columns());
        if (dWeight != null) {
            Arguments.f32(op, "dWeight", dWeight, weight.rows(), weight.columns());
        }
        row(op, "dBias", dBias, x.columns());
        ops.causalConvolutionGradient(x, weight, sequenceLength, dOut, dx, dWeight, dBias);
    }

    private static void convolution(String op, Tensor x, Tensor weight, int sequenceLength) {
        Arguments.f32(op, "x", x, x.rows(), x.columns());
        Arguments.f32(op, "weight", weight, x.columns(), Math.max(1, weight.columns()));
        sequences(op, x, sequenceLength);
    }

    @Override
    public void deltaDecay(Tensor a, Tensor aLog, Tensor dtBias, Tensor out) {
        decay("deltaDecay", a, aLog, dtBias);
        Arguments.f32("deltaDecay", "out", out, a.rows(), a.columns());
        ops.deltaDecay(a, aLog, dtBias, out);
    }

    @Override
    public void deltaDecayGradient(Tensor a, Tensor aLog, Tensor dtBias, Tensor dOut, Tensor da, @Nullable Tensor dALog,
            @Nullable Tensor dDtBias) {
        String op = "deltaDecayGradient";
        decay(op, a, aLog, dtBias);
        Arguments.f32(op, "dOut", dOut, a.rows(), a.columns());
        Arguments.f32(op, "da", da, a.rows(), a.columns());
        row(op, "dALog", dALog, a.columns());
        row(op, "dDtBias", dDtBias, a.columns());
        ops.deltaDecayGradient(a, aLog, dtBias, dOut, da, dALog, dDtBias);
    }

    private static void decay(String op, Tensor a, Tensor aLog, Tensor dtBias) {
        Arguments.f32(op, "a", a, a.rows(), a.columns());
        Arguments.f32(op, "aLog", aLog, 1, a.columns());
        Arguments.f32(op, "dtBias", dtBias, 1, a.columns());
    }

    @Override
    public void gatedDeltaRule(DeltaInputs inputs, Tensor out) {
        rule("gatedDeltaRule", inputs);
        Arguments.f32("gatedDeltaRule", "out", out, inputs.v().rows(), inputs.v().columns());
        ops.gatedDeltaRule(inputs, out);
    }

    @Override
    public void gatedDeltaRuleGradient(DeltaInputs inputs, Tensor dOut, DeltaGradients gradients) {
        String op = "gatedDeltaRuleGradient";
        rule(op, inputs);
        like(op, "dOut", dOut, inputs.v());
        like(op, "dq", gradients.dq(), inputs.q());
        like(op, "dk", gradients.dk(), inputs.k());
        like(op, "dv", gradients.dv(), inputs.v());
        like(op, "dDecay", gradients.dDecay(), inputs.decay());
        like(op, "dBeta", gradients.dBeta(), inputs.beta());
        ops.gatedDeltaRuleGradient(inputs, dOut, gradients);
    }

    private static void rule(String op, DeltaInputs inputs) {
        DeltaShape shape = inputs.shape();
        long rows = inputs.q().rows();
        Arguments.f32(op, "q", inputs.q(), rows, (long) shape.keyHeads() * shape.keyDim());
        Arguments.f32(op, "k", inputs.k(), rows, (long) shape.keyHeads() * shape.keyDim());
        Arguments.f32(op, "v", inputs.v(), rows, (long) shape.valueHeads() * shape.valueDim());
        Arguments.f32(op, "decay", inputs.decay(), rows, shape.valueHeads());
        Arguments.f32(op, "beta", inputs.beta(), rows, shape.valueHeads());
        sequences(op, inputs.q(), shape.sequenceLength());
    }

    private static void like(String op, String name, Tensor tensor, Tensor shaped) {
        Arguments.shaped(op, name, tensor, DType.F32, shaped.rows(), shaped.columns());
    }

    private static void row(String op, String name, @Nullable Tensor tensor, long columns) {
        if (tensor != null) {
            Arguments.f32(op, name, tensor, 1, columns);
        }
    }

    private static void sequences(String op, Tensor tensor, int sequenceLength) {
        if (sequenceLength < 1 || tensor.rows() % sequenceLength != 0) {
            throw new IllegalArgumentException(
                    op + ": rows must be whole sequences of " + sequenceLength + ", found " + tensor);
        }
    }
}
