package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A variant of solving a linear with a given Hessian.
 *
 * @param searchScales whether scales are searched beforehand, weighted by the Hessian's diagonal; otherwise they cover
 *     the group's range, as published
 * @param propagation errors to correct besides its own rounding; null for none, as published
 * @param polish the polishing of the solution
 * @param keepRounded whether to return the weights before rounding beside the codes
 */
public record GptqVariant(boolean searchScales, @Nullable Propagation propagation, Polish polish,
        boolean keepRounded) {

    /** GPTQ as published. */
    public static final GptqVariant PLAIN = new GptqVariant(false, null, Polish.NONE, false);

    /**
     * Error propagation (QEP, arXiv 2504.09629; docs/algorithms.md, section 5): the inputs x~ that a layer gets from the quantized layers before
     * it differ from its original inputs x, so its target is W + strength (W* - W), where W* gives the original outputs
     * from the actual inputs: W*^T - W^T = (H + damp)^-1 (C - H) W^T.
     *
     * @param cross C = 2/N sum_t x~_t x_t^T, F32 [n, n], over the Hessian's tokens
     * @param strength 0 for none, 1 for full
     */
    public record Propagation(Tensor cross, float strength) {}
}
