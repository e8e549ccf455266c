package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;

/** A matmul with a weight; if several parts share its rows, with each part in its place. */
record LinearStep(Device device) {

    /** Memory for the output of a linear whose rows are grouped. */
    static void needs(LinearSpec linear, Widths widths) {
        if (!linear.view().rows().isConcatenated()) {
            widths.need(Scratch.FUSED, linear.outputs());
        }
    }

    /** y = x w^T + bias + beta y. */
    void forward(LinearWeights linear, Tensor x, float beta, Tensor y) {
        switch (linear) {
            case LinearWeights.Dense dense -> device.matrix().linear(x, dense.weight(), dense.bias(), beta, y);
            case LinearWeights.Packed packed ->
                device.quant().linearPacked(packed.packed(), x, packed.bias(), beta, y);
        }
    }

    /** The same where the block has it. */
    void ifThere(Frame f, Projection projection, Tensor x, Tensor y) {
        if (f.spec().has(projection)) {
            parts(f, f.spec().linear(projection), x, y);
        }
    }

    /** y [n, outputs] = x w^T + bias, with the parts of the linear one after the other. */
    void parts(Frame f, LinearSpec linear, Tensor x, Tensor y) {
        if (linear.view().rows().isConcatenated()) {
            forward(f.weights().of(linear), x, 0, y);
            return;
        }
        Tensor fused = f.scratch(Scratch.FUSED, linear.outputs()).rows(0, x.rows());
        forward(f.weights().of(linear), x, 0, fused);
        device.matrix().gatherColumns(fused, f.tables().onDisk(linear.view().rows()), y);
    }
}
