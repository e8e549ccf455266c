package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.util.Arrays;
import java.util.List;

/**
 * Names, dtypes and shapes of the packed tensors of one linear layer in GPTQ layout.
 *
 * @param module name without suffix ("model.layers.0.mlp.up_proj")
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale, -1 for all of them
 * @param inputs a multiple of 32
 * @param outputs a multiple of 32
 */
public record PackedLayout(String module, int bits, int groupSize, int inputs, int outputs) {

    /** Codes are packed in runs of 32, so that every bit width fills whole words. */
    private static final int RUN = 32;

    /** Throws UserError: UNSUPPORTED_MODEL for sizes that cannot be packed, BAD_SETTING for bits or groups. */
    public PackedLayout {
        requireRuns(module, "inputs", inputs);
        requireRuns(module, "outputs", outputs);
        QuantizationConfig.requireBits(bits);
        QuantizationConfig.requireGroupSize(groupSize);
        if (groupSize > 0 && inputs % groupSize != 0) {
            throw new UserError(Code.BAD_SETTING, module + ": expected a group size that divides its " + inputs
                    + " inputs, found " + groupSize + "; use one that does, such as "
                    + (inputs % 128 == 0 ? 128 : inputs % 64 == 0 ? 64 : 32) + ", or -1 for one group per output");
        }
    }

    public int groups() {
        return groupSize == QuantizationConfig.ONE_GROUP ? 1 : inputs / groupSize;
    }

    /** int32 [in * bits / 32, out]. */
    public TensorSpec qweight() {
        return new TensorSpec(module + PackedPart.CODES.suffix(), DType.I32,
                Shape.of(Packing.words(bits, inputs), outputs));
    }

    /** int32 [groups, out * bits / 32]. */
    public TensorSpec qzeros() {
        return new TensorSpec(module + PackedPart.ZEROS.suffix(), DType.I32,
                Shape.of(groups(), Packing.words(bits, outputs)));
    }

    /** float16 [groups, out]. */
    public TensorSpec scales() {
        return new TensorSpec(module + PackedPart.SCALES.suffix(), DType.F16, Shape.of(groups(), outputs));
    }

    /** int32 [in]. */
    public TensorSpec gIdx() {
        return new TensorSpec(module + PackedPart.GROUPS.suffix(), DType.I32, Shape.of(inputs));
    }

    /** The tensor of a part. */
    public TensorSpec tensor(PackedPart part) {
        return switch (part) {
            case CODES -> qweight();
            case ZEROS -> qzeros();
            case SCALES -> scales();
            case GROUPS -> gIdx();
        };
    }

    /** All four, in the order they are written. */
    public List<TensorSpec> tensors() {
        return Arrays.stream(PackedPart.values()).map(this::tensor).toList();
    }

    private static void requireRuns(String module, String what, int size) {
        if (size <= 0 || size % RUN != 0) {
            throw new UserError(Code.UNSUPPORTED_MODEL, module + ": expected a multiple of " + RUN + " " + what
                    + ", found " + size + "; GPTQ checkpoints cannot hold such a layer, pad its weight in the source"
                    + " model or choose another model");
        }
    }
}
