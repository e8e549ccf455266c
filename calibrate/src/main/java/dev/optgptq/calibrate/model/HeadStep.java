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
record HeadStep(Device device, NormStep norms, DType products) {

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

    /** With products in fp16/bf16 its input is rounded; to weights as they are stored, and products in float32, it is not. */
    private void multiply(LinearWeights matrix, Tensor x, Tensor y) {
        try (TensorArena scratch = device.arena()) {
            device.matrix().linear(rounded(x, matrix, scratch), matrix.weight(), matrix.bias(), 0, y);
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
            backward(matrix, normed, dLogits, normed, into == null ? null : into.matrix());
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor projected = scratch.matrix(DType.F32, normed.rows(), head.spec().width());
            multiply(head.projection(), normed, projected);
            backward(matrix, projected, dLogits, projected, into == null ? null : into.matrix());
            backward(head.projection(), normed, projected, normed, into == null ? null : into.projection());
            device.synchronize();
        }
    }

    /**
     * dx = dy w, and the sums grow by dy^T x and the sum of dy's rows; with a matrix in fp16/bf16 of factors rounded to that.
     *
     * @param dx may be x
     */
    private void backward(LinearWeights linear, Tensor x, Tensor dy, Tensor dx, @Nullable LinearWeights into) {
        try (TensorArena scratch = device.arena()) {
            Tensor factor = rounded(dy, linear, scratch);
            if (into != null) {
                device.matrix().gemm(1, factor, true, rounded(x, linear, scratch), false, 1, into.weight());
                if (into.bias() != null) {
                    device.gradient().addRowsInto(dy, into.bias());
                }
            }
            device.matrix().gemm(1, factor, false, linear.weight(), false, 0, dx);
        }
    }

    private Tensor rounded(Tensor x, LinearWeights linear, TensorArena scratch) {
        DType dtype = linear.weight().dtype();
        if (dtype == DType.F32 || products == DType.F32) {
            return x;
        }
        Tensor halves = scratch.matrix(dtype, x.rows(), x.columns());
        device.neural().convert(x, halves);
        return halves;
    }
}
