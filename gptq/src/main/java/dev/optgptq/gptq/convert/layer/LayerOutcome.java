package dev.optgptq.gptq.convert.layer;

import dev.optgptq.gptq.convert.fit.Fit;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The outcome of converting one layer.
 *
 * @param kvHeads after the conversion
 * @param order of the original's key-value heads, of which neighbours share
 * @param keyResidual the share of the weighted energy of keys that merging lost
 * @param valueResidual the same of values
 * @param mergedDivergence KL(original attention || converted) of the merged heads on held-out sequences, nats per query and
 *     head
 * @param fittedDivergence the same after the score fit
 * @param turns kept turns of the score fit; 0 if it was not tried
 * @param values the fit of values and output projection, by the mean squared error of the residual stream
 * @param down the refit of the down projection, likewise; null where there are experts
 */
public record LayerOutcome(int block, int kvHeads, List<Integer> order, double keyResidual, double valueResidual,
        double mergedDivergence, double fittedDivergence, int turns, Fit values,
        @Nullable Fit down) {}
