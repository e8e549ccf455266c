package dev.optgptq.calibrate.weights;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one norm on the device.
 *
 * @param weight F32 [1, hidden]
 * @param bias F32 [1, hidden], or null
 */
public record NormWeights(Tensor weight, @Nullable Tensor bias) {

    /** The same, to be overwritten. */
    NormWeights copy(Device device, TensorArena arena) {
        return new NormWeights(copy(weight, device, arena), bias == null ? null : copy(bias, device, arena));
    }

    private static Tensor copy(Tensor tensor, Device device, TensorArena arena) {
        Tensor copy = arena.matrix(tensor.dtype(), tensor.rows(), tensor.columns());
        device.matrix().copy(tensor, copy);
        return copy;
    }

    /** The same shapes, all zero. */
    NormWeights zeros(Device device, TensorArena arena) {
        return new NormWeights(Zeros.like(weight, device, arena),
                bias == null ? null : Zeros.like(bias, device, arena));
    }
}
