package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Receives the loss's gradient for the outputs of a block's linears during a backward pass. */
@FunctionalInterface
public interface OutputTap {

    /** Ignores everything. */
    OutputTap NONE = (linear, dOutput, tokens) -> {};

    /**
     * @param dOutput F32 [N, outputs] of the linear; valid during the call only, not to be written
     * @param tokens I32 [1, N]: which of the batch these are, rising, where only some pass; null for all of it
     */
    void at(LinearSpec linear, Tensor dOutput, @Nullable Tensor tokens);

    /** Of the whole batch. */
    default void at(LinearSpec linear, Tensor dOutput) {
        at(linear, dOutput, null);
    }

    /** The same, for some of the batch. */
    default OutputTap ofSome(Tensor tokens) {
        return (linear, dOutput, all) -> at(linear, dOutput, tokens);
    }
}
