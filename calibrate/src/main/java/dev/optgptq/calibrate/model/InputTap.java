package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Receives the inputs of a block's linears during a forward pass. */
@FunctionalInterface
public interface InputTap {

    /** Ignores everything. */
    InputTap NONE = (site, x, tokens) -> true;

    /**
     * @param x [N, inputs] of the site in the matmul dtype of its linears; valid during the call only, not to be
     *     written
     * @param tokens I32 [1, N]: which of the batch these are, rising, where only some pass; null for all of it
     * @return false to stop the forward pass here, leaving the block's output undefined
     */
    boolean at(InputSite site, Tensor x, @Nullable Tensor tokens);

    /** Whether an expert is run at all, or the shared one, NO_EXPERT; without it the block's output is undefined. */
    default boolean runs(int expert) {
        return true;
    }

    /** Receives a mixture's input for all tokens: x F32 [N, hidden], valid during the call only. */
    default void mixtureInput(Tensor x) {
        // most taps are about linears alone
    }

    /** The whole batch passes. */
    default boolean at(InputSite site, Tensor x) {
        return at(site, x, null);
    }

    /** The same, for some of the batch. */
    default InputTap ofSome(Tensor tokens) {
        return (site, x, all) -> at(site, x, tokens);
    }
}
