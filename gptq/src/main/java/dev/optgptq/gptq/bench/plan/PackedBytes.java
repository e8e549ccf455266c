package dev.optgptq.gptq.bench.plan;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.safetensors.TensorSpec;

/** Bytes of quantized linears at 4 bits in groups of 128. */
final class PackedBytes {

    static final int BITS = 4;
    static final int GROUP_SIZE = 128;

    private PackedBytes() {}

    static double of(ModelSpec spec) {
        return spec.blockSpecs().stream().mapToDouble(PackedBytes::of).sum();
    }

    private static double of(BlockSpec block) {
        return block.linears().stream()
                .flatMap(linear -> new PackedLayout(linear.module(), BITS, GROUP_SIZE, linear.inputs(),
                        linear.outputs()).tensors().stream())
                .mapToDouble(TensorSpec::bytes).sum();
    }
}
