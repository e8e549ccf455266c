package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Shared by the linears of one block's backward pass.
 *
 * @param halves memory for the gradient for an output in the matmul dtype; null if that is float32
 * @param tap receives the gradient for each linear's output, in the order on disk
 * @param sums of the linears' gradients; null if they are not wanted
 */
record LinearGradients(Frame f, Device device, @Nullable Tensor halves, OutputTap tap, @Nullable BlockWeights sums) {

    static LinearGradients of(Frame f, Device device, @Nullable Tensor halves, OutputTap tap,
            @Nullable BlockWeights into) {
        return new LinearGradients(f, device, halves, tap,
                into != null && into.has(ParameterKind.LINEAR) ? into : null);
    }

    /** The same with a tap that is told that only some of the batch pass. */
    LinearGradients ofSome(Tensor tokens) {
        return new LinearGradients(f, device, halves, tap.ofSome(tokens), sums);
    }

    boolean sumsLinears() {
        return sums != null;
    }

    /** The same where the block has it; the factor of dx for the next one that adds to it. */
    float ifThere(Projection projection, Tensor x, Tensor dy, float beta, Tensor dx) {
        if (!f.spec().has(projection)) {
            return beta;
        }
        parts(f.spec().linear(projection), x, dy, beta, dx);
        return 1;
    }

    /** As below, with dy's columns part after part. */
    void parts(LinearSpec linear, Tensor x, Tensor dy, float beta, Tensor dx) {
        if (linear.view().rows().isConcatenated()) {
            linear(linear, x, dy, beta, dx);
            return;
        }
        Tensor onDisk = f.scratch(Scratch.FUSED, linear.outputs()).rows(0, x.rows());
        device.matrix().gatherColumns(dy, f.tables().inParts(linear.view().rows()), onDisk);
        linear(linear, x, onDisk, beta, dx);
    }

    /**
     * dx = beta dx + dy w; the parameters' gradients grow by dy^T x and the sum of dy's rows. Factors are rounded to the matmul
     * dtype, sums are in float32.
     */
    void linear(LinearSpec linear, Tensor x, Tensor dy, float beta, Tensor dx) {
        tap.at(linear, dy);
        Tensor factor = rounded(dy);
        LinearWeights into = sums == null ? null : sums.find(linear);
        if (into != null) {
            device.matrix().gemm(1, factor, true, f.factor(device.neural(), x), false, 1, into.weight());
            if (into.bias() != null) {
                device.gradient().addRowsInto(dy, into.bias());
            }
        }
        device.matrix().gemm(1, factor, false, f.weights().of(linear).weight(), false, beta, dx);
    }

    private Tensor rounded(Tensor dy) {
        if (halves == null) {
            return dy;
        }
        Tensor rounded = halves.rows(0, dy.rows()).columns(0, dy.columns());
        device.neural().convert(dy, rounded);
        return rounded;
    }
}
