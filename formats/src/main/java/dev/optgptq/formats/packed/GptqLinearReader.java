package dev.optgptq.formats.packed;

import static dev.optgptq.formats.packed.LinearTensors.bad;
import static dev.optgptq.formats.packed.LinearTensors.find;
import static dev.optgptq.formats.packed.LinearTensors.require;
import static dev.optgptq.formats.packed.LinearTensors.requireRank;
import static dev.optgptq.formats.packed.LinearTensors.scales;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads packed linears in GPTQ layout without a copy. The tensors must agree with each other and with the quantization_config,
 * shapes and contents, so that whoever computes with them can follow every index.
 */
final class GptqLinearReader {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int WORD_BITS = 32;

    private GptqLinearReader() {}

    static PackedLinear read(String module, Map<String, TensorView> tensors, QuantizationConfig quantization) {
        TensorView gIdx = groupIndices(module, tensors, quantization);
        PackedLayout layout = layout(module, tensors, quantization);
        MemorySegment sequential = gIdx == null || isLeftZero(gIdx, layout, quantization)
                ? sequential(layout.inputs(), layout.groups())
                : null;
        PackedLinear linear = new PackedLinear(layout.bits(), layout.inputs(), layout.outputs(), layout.groups(),
                quantization.format().packing().zeroOffset(), data(layout.qweight(), tensors),
                data(layout.qzeros(), tensors), ScaleReader.read(scales(layout.scales(), tensors), 1, 1),
                sequential == null ? data(layout.gIdx(), tensors) : sequential);
        if (gIdx != null && sequential == null) {
            checkGroups(linear.gIdx(), layout, quantization, gIdx);
        }
        if (quantization.symmetric()) {
            checkSymmetricZeros(linear, find(module + ".qzeros", tensors));
        }
        return linear;
    }

    /** Null where there are none and none are needed: other tools leave them out when groups follow each other. */
    private static @Nullable TensorView groupIndices(String module, Map<String, TensorView> tensors,
            QuantizationConfig quantization) {
        TensorView found = tensors.get(module + ".g_idx");
        if (found == null && quantization.descAct()) {
            throw new UserError(Code.BAD_MODEL, "tensor '" + module
                    + ".g_idx': expected beside the other packed tensors"
                    + " of its module, because desc_act is true or not given, found no such tensor; fetch the model again,"
                    + " or set desc_act to false if its groups follow each other");
        }
        return found;
    }

    /** The sizes that qweight, and g_idx where it is there, state; everything else is checked against them. */
    static PackedLayout layout(String module, Map<String, TensorView> tensors, QuantizationConfig quantization) {
        TensorView qweight = find(module + ".qweight", tensors);
        TensorView gIdx = groupIndices(module, tensors, quantization);
        requireRank(2, qweight);
        if (gIdx != null) {
            requireRank(1, gIdx);
        }
        long inputs = gIdx == null
                ? qweight.shape().dimension(0) * WORD_BITS / quantization.bits()
                : gIdx.shape().dimension(0);
        return LinearTensors.layout(module, inputs, qweight.shape().dimension(1), quantization);
    }

    /**
     * Whether a g_idx is the zeros it was allocated with, as old writers left it where groups follow each other. With
     * desc_act the order is nowhere then.
     */
    private static boolean isLeftZero(TensorView gIdx, PackedLayout layout, QuantizationConfig quantization) {
        if (layout.groups() == 1 || gIdx.data().byteSize() != (long) layout.inputs() * Integer.BYTES) {
            return false;
        }
        for (int input = 0; input < layout.inputs(); input++) {
            if (gIdx.data().get(INT, (long) input * Integer.BYTES) != 0) {
                return false;
            }
        }
        if (quantization.descAct()) {
            throw bad(gIdx, "expected the groups of all " + layout.groups() + ", found every input in group 0, although"
                    + " desc_act is true or not given");
        }
        return true;
    }

    /** Groups of inputs that follow each other. */
    static MemorySegment sequential(int inputs, int groups) {
        MemorySegment indices = Arena.ofAuto().allocate((long) inputs * Integer.BYTES, Integer.BYTES);
        int groupSize = inputs / groups;
        for (int input = 0; input < inputs; input++) {
            indices.set(INT, (long) input * Integer.BYTES, input / groupSize);
        }
        return indices;
    }

    private static MemorySegment data(TensorSpec expected, Map<String, TensorView> tensors) {
        TensorView found = find(expected.name(), tensors);
        require(expected, found);
        return found.data();
    }

    /** Each index in range, and sequential unless desc_act says otherwise: fast kernels never look at g_idx then. */
    static void checkGroups(MemorySegment groups, PackedLayout layout, QuantizationConfig quantization,
            TensorView gIdx) {
        int groupSize = layout.inputs() / layout.groups();
        for (int input = 0; input < layout.inputs(); input++) {
            int group = groups.get(INT, (long) input * Integer.BYTES);
            if (group < 0 || group >= layout.groups()) {
                throw bad(gIdx, "expected groups from 0 to " + (layout.groups() - 1) + ", found " + group + " at input "
                        + input);
            }
            if (!quantization.descAct() && group != input / groupSize) {
                throw bad(gIdx, "expected group " + input / groupSize + " at input " + input
                        + ", because desc_act is false, found " + group);
            }
        }
    }

    /**
     * The label decides what a stored zero means: zeros of one version under the label of the other load everywhere and compute
     * garbage, so they are told from damage.
     */
    private static void checkSymmetricZeros(PackedLinear linear, TensorView qzeros) {
        int[] expected = Packing.symmetricZeroWords(linear.bits(), linear.zeroOffset());
        int[] ofOther = Packing.symmetricZeroWords(linear.bits(), 1 - linear.zeroOffset());
        String label = linear.zeroOffset() == 0 ? "gptq_v2" : "gptq";
        String otherLabel = linear.zeroOffset() == 0 ? "gptq" : "gptq_v2";
        long count = linear.qzeros().byteSize() / Integer.BYTES;
        for (long i = 0; i < count; i++) {
            int word = linear.qzeros().get(INT, i * Integer.BYTES);
            // A row is a whole number of 32-output runs, so the pattern never breaks at a row's end.
            int at = (int) (i % expected.length);
            if (word == expected[at]) {
                continue;
            }
            String found = "expected the word " + Integer.toHexString(expected[at]) + " of a symmetric " + label
                    + " checkpoint, found " + Integer.toHexString(word);
            throw word == ofOther[at]
                    ? new UserError(Code.BAD_MODEL, LinearTensors.place(qzeros) + found + ", as " + otherLabel
                            + " stores it: the checkpoint is " + otherLabel + " under the label " + label
                            + "; set checkpoint_format to " + otherLabel + " in its config")
                    : bad(qzeros, found + "; 'sym' or 'checkpoint_format' in the config is wrong");
        }
    }
}
