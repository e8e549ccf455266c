package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Map;

/**
 * A backward op with the forward op it belongs to, so that finite differences can check it.
 *
 * @param backward the backward op's case
 * @param forward computes what the op is the gradient of, from the same operands
 * @param outputGradient the operand that weighs the forward op's outputs: "dOut"
 * @param gradients for each input that has a gradient the operand it is found in after the backward op: "x" in "dx"
 */
record GradientCase(OpCase backward, Forward forward, String outputGradient, Map<String, String> gradients) {

    /** Returns the output, F32 or F64; must leave the operands as they are. */
    @FunctionalInterface
    interface Forward {
        Tensor run(Device device, TensorArena arena, OpCase.Operands operands);
    }

    @Override
    public String toString() {
        return backward.toString();
    }
}
