package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Tensor;

/** A loss of a block's output. */
@FunctionalInterface
public interface OutputLoss {

    /**
     * @param y F32 [N, hidden], the output of the block; replaced by the loss's gradient for it
     */
    void differentiate(Tensor y);
}
