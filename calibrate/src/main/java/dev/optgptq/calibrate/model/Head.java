package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** The final norm and the output matrix on the device, F32; the arena given at loading owns them. */
public final class Head {

    private final NormWeights norm;
    private final Tensor weight;

    Head(NormWeights norm, Tensor weight) {
        this.norm = norm;
        this.weight = weight;
    }

    NormWeights norm() {
        return norm;
    }

    /** F32 [vocabulary, hidden]. */
    Tensor weight() {
        return weight;
    }

    /** The same shapes, all zero: where gradients are summed. */
    Head zeros(Device device, TensorArena arena) {
        return new Head(norm.zeros(device, arena), Zeros.like(weight, device, arena));
    }
}
