package dev.optgptq.gptq.convert.layer;

import dev.optgptq.gptq.convert.fit.Fit;

/**
 * How the conversion of one layer went.
 *
 * @param kvHeads that it has now
 * @param keyResidual the share of the weighted energy of keys that merging lost
 * @param valueResidual the same of values
 * @param mergedDivergence KL(original attention || converted) of the merged heads on held-out sequences, nats per query and
 *     head
 * @param fittedDivergence the same behind the score fit
 * @param turns of the score fit that were kept; 0 where it was not tried
 * @param values the fit of values and output projection, by the mean squared error of the residual stream
 * @param down the refit of the down projection, likewise
 */
public record LayerOutcome(int block, int kvHeads, double keyResidual, double valueResidual, double mergedDivergence,
        double fittedDivergence, int turns, Fit values, Fit down) {}
