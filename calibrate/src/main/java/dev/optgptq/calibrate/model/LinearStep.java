package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.MatrixOps.Product;
import dev.optgptq.kernels.ops.QuantOps.PackedProduct;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

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

    /** A linear of a block, and where its output goes. */
    record Target(@Nullable LinearSpec linear, @Nullable Tensor y) {

        static Target of(Frame f, Projection projection, Tensor y) {
            return new Target(f.spec().has(projection) ? f.spec().linear(projection) : null, y);
        }
    }

    /** Those of some linears of the same inputs that are there: together, where they need no grouping. */
    void together(Frame f, Tensor x, Target... targets) {
        List<PackedProduct> packed = new ArrayList<>();
        List<Product> dense = new ArrayList<>();
        for (Target target : targets) {
            LinearSpec linear = target.linear();
            Tensor y = target.y();
            if (linear == null || y == null) {
                continue;
            }
            if (!linear.view().rows().isConcatenated()) {
                parts(f, linear, x, y);
                continue;
            }
            switch (f.weights().of(linear)) {
                case LinearWeights.Packed own -> packed.add(new PackedProduct(own.packed(), own.bias(), y));
                case LinearWeights.Dense own -> dense.add(new Product(own.weight(), own.bias(), y));
            }
        }
        if (!packed.isEmpty()) {
            device.quant().linearsPacked(packed, x);
        }
        if (!dense.isEmpty()) {
            device.matrix().linears(dense, x);
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
