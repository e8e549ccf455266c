package dev.optgptq.calibrate.model;

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
record NormWeights(Tensor weight, @Nullable Tensor bias) {

    /** The same shapes, all zero. */
    NormWeights zeros(Device device, TensorArena arena) {
        return new NormWeights(Zeros.like(weight, device, arena),
                bias == null ? null : Zeros.like(bias, device, arena));
    }
}
