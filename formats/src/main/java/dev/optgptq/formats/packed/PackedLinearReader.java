package dev.optgptq.formats.packed;

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
 * Finds the packed tensors of a linear and checks that they agree with each other and with the quantization_config, shapes
 * and contents, so that whoever computes with them can follow every index.
 */
public final class PackedLinearReader {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int WORD_BITS = 32;

    private PackedLinearReader() {}

    /**
     * @param module name without suffix; its qweight is among the tensors
     * @throws UserError BAD_MODEL naming the tensor that is missing or contradicts the rest; UNSUPPORTED_MODEL for sizes or
     *     dtypes that are not read; NUMERIC for a scale that is NaN or infinite
     */
    public static PackedLinear read(String module, Map<String, TensorView> tensors, QuantizationConfig quantization) {
        if (tensors.containsKey(module + ".weight")) {
            throw bad(find(module + ".weight", tensors),
                    "expected either a plain weight or packed tensors, found both");
        }
        TensorView qweight = find(module + ".qweight", tensors);
        TensorView gIdx = groupIndices(module, tensors, quantization);
        PackedLayout layout = layout(module, qweight, gIdx, quantization);
        MemorySegment sequential = gIdx == null || isLeftZero(gIdx, layout, quantization)
                ? sequential(layout.inputs(), layout.groups())
                : null;
        PackedLinear linear = new PackedLinear(layout.bits(), layout.inputs(), layout.outputs(), layout.groups(),
                quantization.format().zeroOffset(), data(layout.qweight(), tensors), data(layout.qzeros(), tensors),
                ScaleReader.read(scales(layout.scales(), tensors)),
                sequential == null ? data(layout.gIdx(), tensors) : sequential);
        if (gIdx != null && sequential == null) {
            checkGroups(linear, gIdx, quantization);
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
    private static PackedLayout layout(String module, TensorView qweight, @Nullable TensorView gIdx,
            QuantizationConfig quantization) {
        requireRank(2, qweight);
        if (gIdx != null) {
            requireRank(1, gIdx);
        }
        long inputs = gIdx == null
                ? qweight.shape().dimension(0) * WORD_BITS / quantization.bits()
                : gIdx.shape().dimension(0);
        long outputs = qweight.shape().dimension(1);
        if (inputs > Integer.MAX_VALUE || outputs > Integer.MAX_VALUE) {
            throw new UserError(Code.UNSUPPORTED_MODEL, module + ": expected at most " + Integer.MAX_VALUE
                    + " inputs and outputs, found " + inputs + " and " + outputs);
        }
        int groupSize = quantization.groupSize();
        if (groupSize > 0 && inputs % groupSize != 0) {
            throw new UserError(Code.UNSUPPORTED_MODEL, module + ": expected inputs in whole groups of the group_size "
                    + groupSize + ", found " + inputs + " inputs; a last group that is short is not read, quantize the"
                    + " source model again with a group size that divides");
        }
        return new PackedLayout(module, quantization.bits(), groupSize, (int) inputs, (int) outputs);
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

    private static MemorySegment sequential(int inputs, int groups) {
        MemorySegment indices = Arena.ofAuto().allocate((long) inputs * Integer.BYTES, Integer.BYTES);
        int groupSize = inputs / groups;
        for (int input = 0; input < inputs; input++) {
            indices.set(INT, (long) input * Integer.BYTES, input / groupSize);
        }
        return indices;
    }

    private static void requireRank(int rank, TensorView tensor) {
        if (tensor.shape().rank() != rank) {
            throw bad(tensor, "expected rank " + rank + ", found shape " + tensor.shape());
        }
    }

    private static TensorView find(String name, Map<String, TensorView> tensors) {
        TensorView tensor = tensors.get(name);
        if (tensor == null) {
            throw new UserError(Code.BAD_MODEL, "tensor '" + name + "': expected beside the other packed tensors of its"
                    + " module, found no such tensor; fetch the model again");
        }
        return tensor;
    }

    private static MemorySegment data(TensorSpec expected, Map<String, TensorView> tensors) {
        TensorView found = find(expected.name(), tensors);
        if (!found.shape().equals(expected.shape()) || found.dtype() != expected.dtype()) {
            throw other(expected, found);
        }
        return found.data();
    }

    /** Of any float dtype. */
    private static TensorView scales(TensorSpec expected, Map<String, TensorView> tensors) {
        TensorView found = find(expected.name(), tensors);
        if (!found.shape().equals(expected.shape()) || !found.dtype().isFloat()) {
            throw other(expected, found);
        }
        return found;
    }

    private static UserError other(TensorSpec expected, TensorView found) {
        return bad(found, "expected " + expected.dtype() + " " + expected.shape()
                + " by its quantization_config and the other packed tensors, found " + found.dtype() + " "
                + found.shape());
    }

    /** Each index in range, and sequential unless desc_act says otherwise: fast kernels never look at g_idx then. */
    private static void checkGroups(PackedLinear linear, TensorView gIdx, QuantizationConfig quantization) {
        int groupSize = linear.inputs() / linear.groups();
        for (int input = 0; input < linear.inputs(); input++) {
            int group = linear.gIdx().get(INT, (long) input * Integer.BYTES);
            if (group < 0 || group >= linear.groups()) {
                throw bad(gIdx, "expected groups from 0 to " + (linear.groups() - 1) + ", found " + group + " at input "
                        + input);
            }
            if (!quantization.descAct() && group != input / groupSize) {
                throw bad(gIdx, "expected group " + input / groupSize + " at input " + input
                        + ", because desc_act is false, found " + group);
            }
        }
    }

    /** The label decides what a stored zero means: v2 zeros under a v1 label load everywhere and compute garbage. */
    private static void checkSymmetricZeros(PackedLinear linear, TensorView qzeros) {
        int[] expected = Packing.symmetricZeroWords(linear.bits(), linear.zeroOffset());
        long count = linear.qzeros().byteSize() / Integer.BYTES;
        for (long i = 0; i < count; i++) {
            int word = linear.qzeros().get(INT, i * Integer.BYTES);
            // A row is a whole number of 32-output runs, so the pattern never breaks at a row's end.
            int wanted = expected[(int) (i % expected.length)];
            if (word != wanted) {
                throw bad(qzeros, "expected the word " + Integer.toHexString(wanted) + " of a symmetric "
                        + (linear.zeroOffset() == 0 ? "gptq_v2" : "gptq") + " checkpoint, found "
                        + Integer.toHexString(word) + "; 'sym' or 'checkpoint_format' in the config is wrong");
            }
        }
    }

    static UserError bad(TensorView tensor, String what) {
        return new UserError(Code.BAD_MODEL, place(tensor) + what
                + "; the tensors or the config are damaged or of another model, fetch them again");
    }

    static String place(TensorView tensor) {
        return tensor.file() + ", tensor '" + tensor.name() + "': ";
    }
}
