package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.Map;

/** What readers of packed linears ask of tensors, and how they refuse. */
final class LinearTensors {

    private LinearTensors() {}

    static TensorView find(String name, Map<String, TensorView> tensors) {
        TensorView tensor = tensors.get(name);
        if (tensor == null) {
            throw new UserError(Code.BAD_MODEL, "tensor '" + name + "': expected beside the other packed tensors of its"
                    + " module, found no such tensor; fetch the model again");
        }
        return tensor;
    }

    /** Throws UserError BAD_MODEL for another dtype or shape. */
    static void require(TensorSpec expected, TensorView found) {
        if (!found.shape().equals(expected.shape()) || found.dtype() != expected.dtype()) {
            throw other(expected, found);
        }
    }

    /** Of any float dtype. */
    static TensorView scales(TensorSpec expected, Map<String, TensorView> tensors) {
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

    static void requireRank(int rank, TensorView tensor) {
        if (tensor.shape().rank() != rank) {
            throw bad(tensor, "expected rank " + rank + ", found shape " + tensor.shape());
        }
    }

    /** Throws UserError UNSUPPORTED_MODEL for sizes that are not read. */
    static PackedLayout layout(String module, long inputs, long outputs, QuantizationConfig grid) {
        if (inputs > Integer.MAX_VALUE || outputs > Integer.MAX_VALUE) {
            throw new UserError(Code.UNSUPPORTED_MODEL, module + ": expected at most " + Integer.MAX_VALUE
                    + " inputs and outputs, found " + inputs + " and " + outputs);
        }
        int groupSize = grid.groupSize();
        if (groupSize > 0 && inputs % groupSize != 0) {
            throw new UserError(Code.UNSUPPORTED_MODEL, module + ": expected inputs in whole groups of the group_size "
                    + groupSize + ", found " + inputs + " inputs; a last group that is short is not read, quantize the"
                    + " source model again with a group size that divides");
        }
        return new PackedLayout(module, grid.bits(), groupSize, (int) inputs, (int) outputs);
    }

    static UserError bad(TensorView tensor, String what) {
        return new UserError(Code.BAD_MODEL, place(tensor) + what
                + "; the tensors or the config are damaged or of another model, fetch them again");
    }

    static String place(TensorView tensor) {
        return tensor.file() + ", tensor '" + tensor.name() + "': ";
    }
}
