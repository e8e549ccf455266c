package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * One way to solve a linear on a given Hessian.
 *
 * @param searchScales whether scales are searched before, weighted by the Hessian's diagonal; otherwise they cover the
 *     group's range, as published
 * @param propagation what the solve makes up for besides its own rounding; null for nothing, as published
 * @param polish what is done to the solution afterwards
 * @param keepRounded whether the weights that were rounded are wanted beside the codes
 */
public record GptqVariant(boolean searchScales, @Nullable Propagation propagation, Polish polish,
        boolean keepRounded) {

    /** GPTQ as published. */
    public static final GptqVariant PLAIN = new GptqVariant(false, null, Polish.NONE, false);

    /**
     * Error propagation (QEP, arXiv 2504.09629; docs/algorithms.md, section 5): the inputs x~ that a layer gets from the quantized layers before
     * it are not those, x, that it was made for, so that it aims at W + strength (W* - W), W* being what gives the
     * original outputs from the inputs there are: W*^T - W^T = (H + damp)^-1 (C - H) W^T.
     *
     * @param cross C = 2/N sum_t x~_t x_t^T, F32 [n, n], over the tokens that the Hessian is of
     * @param strength 0 none, 1 all of it
     */
    public record Propagation(Tensor cross, float strength) {}
}
