package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * AutoGPTQ's and GPTQModel's layout: the form in which everything here computes.
 *
 * @param zeroOffset 1 for v1, which stores zero points minus one; 0 for v2
 */
record GptqFormat(int zeroOffset) implements PackedFormat {

    private static final int WORD_BITS = 32;

    @Override
    public List<String> suffixes() {
        return Arrays.stream(PackedPart.values()).map(PackedPart::suffix).toList();
    }

    @Override
    public boolean holdsModules() {
        return true;
    }

    @Override
    public void require(PackedGrid grid) {
        if (!grid.symmetric() && zeroOffset == 1) {
            throw new UserError(Code.BAD_SETTING, "format gptq: expected symmetric quantization, found asymmetric;"
                    + " gptq stores zero points minus one, and a zero point of 0 would spill into its neighbour, so use"
                    + " --format gptq_v2, or leave --no-symmetric out");
        }
    }

    @Override
    public List<StoredTensor> tensors(PackedLayout linear, QuantizationConfig grid) {
        return Arrays.stream(PackedPart.values()).map(part -> StoredTensor.same(linear.tensor(part), part)).toList();
    }

    @Override
    public PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig grid) {
        return GptqLinearReader.layout(module, tensors, grid);
    }

    @Override
    public BitPlace codes(PackedLayout linear) {
        return (input, output, k) -> {
            long inStream = (long) input * linear.bits() + k;
            return WORD_BITS * (inStream / WORD_BITS * linear.outputs() + output) + inStream % WORD_BITS;
        };
    }

    @Override
    public BitPlace zeros(PackedLayout linear) {
        return (group, output, k) -> ((long) group * linear.outputs() + output) * linear.bits() + k;
    }
}
