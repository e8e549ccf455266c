package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedGradientOps implements GradientOps {

    private final GradientOps ops;

    public CheckedGradientOps(GradientOps ops) {
        this.ops = ops;
    }

    @Override
    public void rmsNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight) {
        same("x", x, "dOut", dOut);
        same("x", x, "dx", dx);
        Arguments.f32("weight", weight, 1, x.columns());
        row("dWeight", dWeight, x.columns());
        ops.rmsNormGradient(x, weight, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias) {
        same("x", x, "dOut", dOut);
        same("x", x, "dx", dx);
        Arguments.f32("weight", weight, 1, x.columns());
        row("dWeight", dWeight, x.columns());
        row("dBias", dBias, x.columns());
        ops.layerNormGradient(x, weight, eps, dOut, dx, dWeight, dBias);
    }

    @Override
    public void rmsNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        NeuralArguments.rmsNormGroups(x, weight, width, dx);
        same("x", x, "dOut", dOut);
        row("dWeight", dWeight, weight.columns());
        ops.rmsNormGroupsGradient(x, weight, width, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        NeuralArguments.layerNormGroups(x, weight, null, width, dx);
        same("x", x, "dOut", dOut);
        row("dWeight", dWeight, weight.columns());
        row("dBias", dBias, weight.columns());
        ops.layerNormGroupsGradient(x, weight, width, eps, dOut, dx, dWeight, dBias);
    }

    @Override
    public void rotaryGradient(Tensor d, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        NeuralArguments.rotary(d, headDim, cos, sin);
        ops.rotaryGradient(d, headDim, cos, sin, layout);
    }

    @Override
    public void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv,
            @Nullable Tensor dSinks) {
        NeuralArguments.attention(forward.q(), forward.k(), forward.v(), forward.slopes(), forward.sinks(),
                forward.shape(), forward.out());
        same("out", forward.out(), "dOut", dOut);
        same("q", forward.q(), "dq", dq);
        same("k", forward.k(), "dk", dk);
        same("v", forward.v(), "dv", dv);
        row("dSinks", dSinks, forward.shape().heads());
        if (dSinks != null && forward.sinks() == null) {
            throw new IllegalArgumentException("attentionGradient: dSinks without sinks");
        }
        ops.attentionGradient(forward, dOut, dq, dk, dv, dSinks);
    }

    @Override
    public void activateGradient(Activation activation, Tensor x, Tensor dOut) {
        same("x", x, "dOut", dOut);
        ops.activateGradient(activation, x, dOut);
    }

    @Override
    public void activateGatedGradient(Activation activation, Tensor gate, Tensor up, Tensor dOut) {
        same("gate", gate, "up", up);
        same("gate", gate, "dOut", dOut);
        ops.activateGatedGradient(activation, gate, up, dOut);
    }

    @Override
    public void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut) {
        NeuralArguments.clampedSwiglu(gate, up, limit);
        same("gate", gate, "dOut", dOut);
        ops.clampedSwigluGradient(gate, up, alpha, limit, dOut);
    }

    @Override
    public void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d) {
        NeuralArguments.gateSigmoid(x, gate);
        same("x", x, "d", d);
        ops.gateSigmoidGradient(x, gate, d);
    }

    @Override
    public void softcapGradient(Tensor y, float cap, Tensor d) {
        NeuralArguments.softcap(y, cap);
        same("y", y, "d", d);
        ops.softcapGradient(y, cap, d);
    }

    @Override
    public void clampGradient(Tensor x, float limit, Tensor d) {
        NeuralArguments.clamp(x, limit);
        same("x", x, "d", d);
        ops.clampGradient(x, limit, d);
    }

    @Override
    public void embedGradient(Tensor ids, Tensor dOut, Tensor dTable) {
        Arguments.shaped("ids", ids, DType.I32, 1, dOut.rows());
        Arguments.f32("dOut", dOut, dOut.rows(), dTable.columns());
        Arguments.f32("dTable", dTable, dTable.rows(), dTable.columns());
        ops.embedGradient(ids, dOut, dTable);
    }

    @Override
    public void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights) {
        Arguments.f32("logits", logits, logits.rows(), logits.columns());
        Arguments.shaped("targets", targets, DType.I32, 1, logits.rows());
        Arguments.f32("weights", weights, 1, logits.rows());
        ops.crossEntropyGradient(logits, targets, weights);
    }

    @Override
    public void klGradient(Tensor teacher, Tensor student, Tensor weights) {
        same("teacher", teacher, "student", student);
        Arguments.f32("weights", weights, 1, teacher.rows());
        ops.klGradient(teacher, student, weights);
    }

    @Override
    public void addRowsInto(Tensor x, Tensor sums) {
        Arguments.f32("x", x, x.rows(), x.columns());
        Arguments.f32("sums", sums, 1, x.columns());
        ops.addRowsInto(x, sums);
    }

    @Override
    public void addSquares(float factor, Tensor x, Tensor squares) {
        Arguments.f32("x", x, x.rows(), x.columns());
        Arguments.f32("squares", squares, 1, x.rows());
        ops.addSquares(factor, x, squares);
    }

    @Override
    public void scaleRows(Tensor x, Tensor factors, Tensor out) {
        same("x", x, "out", out);
        Arguments.f32("factors", factors, 1, x.rows());
        ops.scaleRows(x, factors, out);
    }

    private static void same(String name, Tensor tensor, String other, Tensor shaped) {
        Arguments.f32(name, tensor, tensor.rows(), tensor.columns());
        Arguments.f32(other, shaped, tensor.rows(), tensor.columns());
    }

    private static void row(String name, @Nullable Tensor tensor, long columns) {
        if (tensor != null) {
            Arguments.f32(name, tensor, 1, columns);
        }
    }
}
