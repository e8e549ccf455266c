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
        same("rmsNormGradient", "x", x, "dOut", dOut);
        same("rmsNormGradient", "x", x, "dx", dx);
        Arguments.f32("rmsNormGradient", "weight", weight, 1, x.columns());
        row("rmsNormGradient", "dWeight", dWeight, x.columns());
        ops.rmsNormGradient(x, weight, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias) {
        same("layerNormGradient", "x", x, "dOut", dOut);
        same("layerNormGradient", "x", x, "dx", dx);
        Arguments.f32("layerNormGradient", "weight", weight, 1, x.columns());
        row("layerNormGradient", "dWeight", dWeight, x.columns());
        row("layerNormGradient", "dBias", dBias, x.columns());
        ops.layerNormGradient(x, weight, eps, dOut, dx, dWeight, dBias);
    }

    @Override
    public void rmsNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        NeuralArguments.rmsNormGroups("rmsNormGroupsGradient", x, weight, width, dx);
        same("rmsNormGroupsGradient", "x", x, "dOut", dOut);
        row("rmsNormGroupsGradient", "dWeight", dWeight, weight.columns());
        ops.rmsNormGroupsGradient(x, weight, width, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        NeuralArguments.layerNormGroups("layerNormGroupsGradient", x, weight, null, width, dx);
        same("layerNormGroupsGradient", "x", x, "dOut", dOut);
        row("layerNormGroupsGradient", "dWeight", dWeight, weight.columns());
        row("layerNormGroupsGradient", "dBias", dBias, weight.columns());
        ops.layerNormGroupsGradient(x, weight, width, eps, dOut, dx, dWeight, dBias);
    }

    @Override
    public void rotaryGradient(Tensor d, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        NeuralArguments.rotary("rotaryGradient", d, headDim, cos, sin);
        ops.rotaryGradient(d, headDim, cos, sin, layout);
    }

    @Override
    public void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv,
            @Nullable Tensor dSinks) {
        NeuralArguments.attention("attentionGradient", forward.q(), forward.k(), forward.v(), forward.slopes(),
                forward.sinks(),
                forward.shape(), forward.out());
        same("attentionGradient", "out", forward.out(), "dOut", dOut);
        same("attentionGradient", "q", forward.q(), "dq", dq);
        same("attentionGradient", "k", forward.k(), "dk", dk);
        same("attentionGradient", "v", forward.v(), "dv", dv);
        row("attentionGradient", "dSinks", dSinks, forward.shape().heads());
        if (dSinks != null && forward.sinks() == null) {
            throw new IllegalArgumentException("attentionGradient: dSinks without sinks");
        }
        ops.attentionGradient(forward, dOut, dq, dk, dv, dSinks);
    }

    @Override
    public void attentionCurvature(Tensor first, Tensor second, CurvatureWeights weights, int window, Tensor errors) {
        NeuralArguments.attentionMatrices("attentionCurvature", "errors", errors, window);
        same("attentionCurvature", "errors", errors, "first", first);
        same("attentionCurvature", "errors", errors, "second", second);
        ops.attentionCurvature(first, second, weights, window, errors);
    }

    @Override
    public void activateGradient(Activation activation, Tensor x, Tensor dOut) {
        same("activateGradient", "x", x, "dOut", dOut);
        ops.activateGradient(activation, x, dOut);
    }

    @Override
    public void activateGatedGradient(Activation activation, Tensor gate, Tensor up, Tensor dOut) {
        same("activateGatedGradient", "gate", gate, "up", up);
        same("activateGatedGradient", "gate", gate, "dOut", dOut);
        ops.activateGatedGradient(activation, gate, up, dOut);
    }

    @Override
    public void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut) {
        NeuralArguments.clampedSwiglu("clampedSwigluGradient", gate, up, limit);
        same("clampedSwigluGradient", "gate", gate, "dOut", dOut);
        ops.clampedSwigluGradient(gate, up, alpha, limit, dOut);
    }

    @Override
    public void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d) {
        NeuralArguments.gateSigmoid("gateSigmoidGradient", x, gate);
        same("gateSigmoidGradient", "x", x, "d", d);
        ops.gateSigmoidGradient(x, gate, d);
    }

    @Override
    public void softcapGradient(Tensor y, float cap, Tensor d) {
        NeuralArguments.softcap("softcapGradient", y, cap);
        same("softcapGradient", "y", y, "d", d);
        ops.softcapGradient(y, cap, d);
    }

    @Override
    public void clampGradient(Tensor x, float limit, Tensor d) {
        NeuralArguments.clamp("clampGradient", x, limit);
        same("clampGradient", "x", x, "d", d);
        ops.clampGradient(x, limit, d);
    }

    @Override
    public void embedGradient(Tensor ids, Tensor dOut, Tensor dTable) {
        Arguments.shaped("embedGradient", "ids", ids, DType.I32, 1, dOut.rows());
        Arguments.f32("embedGradient", "dOut", dOut, dOut.rows(), dTable.columns());
        Arguments.f32("embedGradient", "dTable", dTable, dTable.rows(), dTable.columns());
        ops.embedGradient(ids, dOut, dTable);
    }

    @Override
    public void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights) {
        Arguments.f32("crossEntropyGradient", "logits", logits, logits.rows(), logits.columns());
        Arguments.shaped("crossEntropyGradient", "targets", targets, DType.I32, 1, logits.rows());
        Arguments.f32("crossEntropyGradient", "weights", weights, 1, logits.rows());
        ops.crossEntropyGradient(logits, targets, weights);
    }

    @Override
    public void klGradient(Tensor teacher, Tensor student, Tensor weights) {
        same("klGradient", "teacher", teacher, "student", student);
        Arguments.f32("klGradient", "weights", weights, 1, teacher.rows());
        ops.klGradient(teacher, student, weights);
    }

    @Override
    public void addRowsInto(Tensor x, Tensor sums) {
        Arguments.f32("addRowsInto", "x", x, x.rows(), x.columns());
        Arguments.f32("addRowsInto", "sums", sums, 1, x.columns());
        ops.addRowsInto(x, sums);
    }

    @Override
    public void addSquares(float factor, Tensor x, Tensor squares) {
        Arguments.f32("addSquares", "x", x, x.rows(), x.columns());
        Arguments.f32("addSquares", "squares", squares, 1, x.rows());
        ops.addSquares(factor, x, squares);
    }

    @Override
    public void scaleRows(Tensor x, Tensor factors, Tensor out) {
        same("scaleRows", "x", x, "out", out);
        Arguments.f32("scaleRows", "factors", factors, 1, x.rows());
        ops.scaleRows(x, factors, out);
    }

    private static void same(String op, String name, Tensor tensor, String other, Tensor shaped) {
        Arguments.f32(op, name, tensor, tensor.rows(), tensor.columns());
        Arguments.f32(op, other, shaped, tensor.rows(), tensor.columns());
    }

    private static void row(String op, String name, @Nullable Tensor tensor, long columns) {
        if (tensor != null) {
            Arguments.f32(op, name, tensor, 1, columns);
        }
    }
}
