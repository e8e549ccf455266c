package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.HeadSpec;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The residual stream to logits: normalise, project, multiply, scale, cap. */
record HeadStep(Device device, NormStep norms) {

    /** x F32 [N, hidden], normed F32 [N, hidden] scratch, logits F32 [N, vocabulary], written. */
    void forward(Head head, Tensor x, Tensor normed, Tensor logits) {
        Tensor input = x;
        if (head.norm() != null) {
            norms.forward(head.norm(), x, normed);
            input = normed;
        } else {
            device.matrix().copy(x, normed);
        }
        LinearWeights matrix = Objects.requireNonNull(head.matrix());
        if (head.projection() == null) {
            multiply(matrix, input, logits);
        } else {
            try (TensorArena scratch = device.arena()) {
                Tensor projected = scratch.matrix(DType.F32, x.rows(), head.spec().width());
                multiply(head.projection(), input, projected);
                multiply(matrix, projected, logits);
                device.synchronize();
            }
        }
        if (head.spec().scale() != 1) {
            device.neural().scale(logits, head.spec().scale());
        }
        if (head.spec().softcap() > 0) {
            device.neural().softcap(logits, head.spec().softcap());
        }
    }

    /** With a matrix in fp16/bf16 its input is rounded to that. */
    private void multiply(LinearWeights matrix, Tensor x, Tensor y) {
        DType dtype = matrix.weight().dtype();
        if (dtype == DType.F32) {
            device.matrix().linear(x, matrix.weight(), matrix.bias(), 0, y);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor halves = scratch.matrix(dtype, x.rows(), x.columns());
            device.neural().convert(x, halves);
            device.matrix().linear(halves, matrix.weight(), matrix.bias(), 0, y);
        }
    }

    /**
     * The gradient for the input.
     *
     * @param x F32 [N, hidden]
     * @param normed F32 [N, hidden] as forward left it, overwritten
     * @param capped F32 [N, vocabulary], the logits; only read where they are capped
     * @param dLogits F32 [N, vocabulary], overwritten
     * @param d F32 [N, hidden], written
     * @param into the parameters' gradients, of all kinds or some; the matrix's is a matmul as large as the logits'
     */
    void backward(Head head, Tensor x, Tensor normed, Tensor capped, Tensor dLogits, Tensor d, @Nullable Head into) {
        HeadSpec spec = head.spec();
        if (spec.softcap() > 0) {
            device.gradient().softcapGradient(capped, spec.softcap(), dLogits);
        }
        if (spec.scale() != 1) {
            device.neural().scale(dLogits, spec.scale());
        }
        throughMatrix(head, normed, dLogits, into != null && into.has(ParameterKind.LINEAR) ? into : null);
        NormWeights norm = head.norm();
        if (norm == null) {
            device.matrix().copy(normed, d);
            return;
        }
        device.matrix().fill(d, 0);
        norms.backward(norm, x, normed, d, into == null ? null : into.norm());
    }

    /** normed becomes the gradient for it. */
    private void throughMatrix(Head head, Tensor normed, Tensor dLogits, @Nullable Head into) {
        LinearWeights matrix = Objects.requireNonNull(head.matrix());
        if (head.projection() == null) {
            sum(into == null ? null : into.matrix(), dLogits, normed);
            device.matrix().gemm(1, dLogits, false, matrix.weight(), false, 0, normed);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor projected = scratch.matrix(DType.F32, normed.rows(), head.spec().width());
            device.matrix().linear(normed, head.projection().weight(), null, 0, projected);
            sum(into == null ? null : into.matrix(), dLogits, projected);
            device.matrix().gemm(1, dLogits, false, matrix.weight(), false, 0, projected);
            sum(into == null ? null : into.projection(), projected, normed);
            device.matrix().gemm(1, projected, false, head.projection().weight(), false, 0, normed);
            device.synchronize();
        }
    }

    private void sum(@Nullable LinearWeights into, Tensor dy, Tensor x) {
        if (into != null) {
            device.matrix().gemm(1, dy, true, x, false, 1, into.weight());
            if (into.bias() != null) {
                device.gradient().addRowsInto(dy, into.bias());
            }
        }
    }
}
