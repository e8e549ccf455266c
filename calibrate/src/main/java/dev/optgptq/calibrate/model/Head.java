package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Tensor;

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
}
