package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.kernels.Tensor;

/** Sees the loss's gradient for the outputs of a block's linears during a backward pass. */
@FunctionalInterface
public interface OutputTap {

    /** Lets everything pass. */
    OutputTap NONE = (linear, dOutput) -> {};

    /**
     * @param dOutput F32 [N, outputs] of the linear; valid during the call only, not to be written
     */
    void at(LinearSpec linear, Tensor dOutput);
}
