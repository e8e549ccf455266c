package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.List;
import java.util.Map;

/**
 * compressed-tensors, int-quantized with 8-bit weights (W8A8, compressors/naive_quantized of vllm-project/compressed-tensors): a
 * signed byte for each weight, one scale for each output. The runtime rounds activations to 8 bits token by token.
 */
record Int8Format() implements PackedFormat {

    static final int BITS = 8;
    /** Of the name of a tensor that tells packed modules from plain ones, whose codes are called a weight too. */
    static final String MARK = ".weight_scale";
    /** Turns the unsigned bytes of a word into signed ones that are 128 less, and back. */
    private static final int SIGNS = 0x80808080;

    @Override
    public List<String> suffixes() {
        return List.of(".weight", MARK, ".weight_zero_point");
    }

    @Override
    public boolean holdsModules() {
        return false;
    }

    @Override
    public void require(PackedGrid grid) {
        if (grid.bits() != BITS || grid.groupSize() != QuantizationConfig.ONE_GROUP || !grid.symmetric()
                || grid.descAct()) {
            throw new UserError(Code.BAD_SETTING,
                    "format w8a8: expected 8 bits, symmetric, one scale for each output, found "
                            + grid + "; use --bits 8 --group-size -1 --symmetric, or --format compressed-tensors");
        }
    }

    @Override
    public List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid) {
        return List.of(bytes(linear), CompressedTensorsFormat.scales(linear));
    }

    /** The codes: int8 [out, in]. */
    static StoredTensor bytes(PackedLayout linear) {
        int words = Packing.words(BITS, linear.inputs());
        int outputs = linear.outputs();
        TensorSpec weight = new TensorSpec(linear.module() + ".weight", DType.I8,
                Shape.of(outputs, linear.inputs()));
        return new StoredTensor(weight, PackedPart.CODES,
                (from, to) -> Repacking.transposeWords(from, words, outputs, SIGNS, to),
                (from, to) -> Repacking.transposeWords(from, outputs, words, SIGNS, to));
    }

    @Override
    public PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        TensorView weight = LinearTensors.find(module + ".weight", tensors);
        LinearTensors.requireRank(2, weight);
        return LinearTensors.layout(module, weight.shape().dimension(1), weight.shape().dimension(0), grid);
    }

    /** Of the code less 128, as a signed byte: all bits are the code's, but the highest, which is inverted. */
    @Override
    public BitPlace codes(PackedLayout linear) {
        return (input, output, k) -> BITS * ((long) output * linear.inputs() + input) + k;
    }

    @Override
    public BitPlace zeros(PackedLayout linear) {
        throw new IllegalStateException("int-quantized checkpoints have no zero points");
    }
}
