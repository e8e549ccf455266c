package dev.optgptq.gptq.bench.plan;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;

/** Bytes of quantized linears at 4 bits in groups of 128: codes, and a scale and a zero for each group. */
final class PackedBytes {

    private static final double PER_WEIGHT = (4 + (16 + 4) / 128.0) / 8;

    private PackedBytes() {}

    static double of(ModelSpec spec) {
        return spec.blockSpecs().stream().mapToDouble(PackedBytes::of).sum();
    }

    static double of(BlockSpec block) {
        return PER_WEIGHT * elements(block);
    }

    /** Weights of a block's linears. */
    static double elements(BlockSpec block) {
        double elements = 0;
        for (LinearSpec linear : block.linears()) {
            elements += (double) linear.inputs() * linear.outputs();
        }
        return elements;
    }
}
