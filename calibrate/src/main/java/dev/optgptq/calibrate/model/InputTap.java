package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.kernels.Tensor;

/** Sees the inputs of a block's linears during a forward pass. */
@FunctionalInterface
public interface InputTap {

    /** Lets everything pass. */
    InputTap NONE = (site, x) -> true;

    /**
     * @param x [N, inputs] of the site as its linears multiply it: F32, or the half-precision dtype of their products; valid during the call only, not to be written
     * @return false to stop the forward pass here, leaving the block's output undefined
     */
    boolean at(InputSite site, Tensor x);
}
