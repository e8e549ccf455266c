package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The ops of a mixture of experts, forward and backward: N tokens, E experts, of which each token goes to k. A layer routes
 * the tokens, sorts them by expert, and for one expert after another gathers its tokens (MatrixOps.gatherRows), runs
 * it, and adds its output back (scatterAddRows): one expert's weights are needed at a time, and sums have one order.
 * All F32 unless said otherwise; arguments never alias.
 */
public interface MixtureOps {

    /**
     * The experts of each token by falling choice score, of equal ones the lower first, and their weights: logits [N, E], bias
     * [1, E], experts I32 [N, k], weights [N, k]. Scores are the softmax or sigmoid of the logits; the choice is by score +
     * bias (DeepSeek-V3, arXiv 2412.19437, section 2.1.2), with groups only among the experts of the activeGroups best groups.
     * Weights are scores without bias, optionally renormalised, times scale. Top-k before the softmax is the softmax
     * renormalised. A NaN is chosen last.
     */
    void route(Tensor logits, @Nullable Tensor bias, Routing routing, Tensor experts, Tensor weights);

    /** The gradient through route for the logits, written: experts as it chose, dWeights [N, k], dLogits [N, E]. */
    void routeGradient(Tensor logits, Routing routing, Tensor experts, Tensor dWeights, Tensor dLogits);

    /**
     * The slots r k + j of experts[r, j] sorted by expert, those of one in rising order: experts I32 [N, k] in [0, E); slots
     * and tokens I32 [1, N k], tokens[i] = slots[i] / k; offsets I32 [1, E + 1]: where each expert's begin, and N k.
     */
    void sortByExpert(Tensor experts, Tensor tokens, Tensor slots, Tensor offsets);

    /**
     * target[order[i]] += factors[i] source[i]: source [n, d], order I32 [1, n], all different, factors [1, n] or null for 1,
     * target [N, d].
     */
    void scatterAddRows(Tensor source, Tensor order, @Nullable Tensor factors, Tensor target);

    /**
     * The gradient through scatterAddRows, written: dSource[i] = factors[i] dTarget[order[i]], dFactors[i] = source[i] .
     * dTarget[order[i]]. source, dSource [n, d], dFactors [1, n].
     */
    void scatterAddRowsGradient(Tensor source, Tensor order, @Nullable Tensor factors, Tensor dTarget, Tensor dSource,
            @Nullable Tensor dFactors);
}
