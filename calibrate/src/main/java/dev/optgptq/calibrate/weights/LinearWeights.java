package dev.optgptq.calibrate.weights;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one linear layer on the device.
 *
 * @param weight [outputs, inputs] in the dtype of the products: F32, F16 or BF16
 * @param bias F32 [1, outputs], or null
 */
public record LinearWeights(Tensor weight, @Nullable Tensor bias) {

    /** The same shapes, all zero. */
    LinearWeights zeros(Device device, TensorArena arena) {
        return new LinearWeights(Zeros.like(weight, device, arena),
                bias == null ? null : Zeros.like(bias, device, arena));
    }
}
