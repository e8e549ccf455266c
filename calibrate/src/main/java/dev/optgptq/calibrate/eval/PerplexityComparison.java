package dev.optgptq.calibrate.eval;

import java.util.Arrays;
import org.apache.commons.math3.stat.StatUtils;
import org.jspecify.annotations.Nullable;

/**
 * The effect of a change of the weights on perplexity, window by window on the same text: windows differ far more from
 * each other than two models do on one window, so the paired difference is known much better than either perplexity.
 *
 * @param difference perplexity of the candidate minus that of the baseline
 * @param low lower end of its 95 % confidence interval (paired Student's t over windows, the baseline taken as fixed);
 *     equals difference for one window
 * @param high its upper end
 * @param increase difference as a share of the baseline: 0.02 for 2 %
 * @param increaseLow lower end of its 95 % confidence interval
 * @param increaseHigh its upper end
 * @param pValue two-sided, of no difference at all; null for one window
 */
public record PerplexityComparison(double difference, double low, double high, double increase, double increaseLow,
        double increaseHigh, @Nullable Double pValue) {

    /** Throws IllegalArgumentException when the two were not measured over the same number of windows of one length. */
    public static PerplexityComparison of(Perplexity baseline, Perplexity candidate) {
        double[] paired = paired(baseline, candidate);
        double mean = StatUtils.mean(paired);
        double half = StudentT.halfWidth(paired);
        double increase = Math.expm1(mean);
        double low = Math.expm1(mean - half);
        double high = Math.expm1(mean + half);
        double base = baseline.perplexity();
        return new PerplexityComparison(base * increase, base * low, base * high, increase, low, high,
                paired.length < 2 ? null : StudentT.pValue(paired));
    }

    /** The candidate's mean cross-entropy minus the baseline's, window by window; throws like of. */
    static double[] paired(Perplexity baseline, Perplexity candidate) {
        int windows = baseline.windowNll().length;
        if (windows != candidate.windowNll().length || baseline.window() != candidate.window()) {
            throw new IllegalArgumentException("not the same windows: " + windows + " of " + baseline.window() + " and "
                    + candidate.windowNll().length + " of " + candidate.window());
        }
        double[] paired = new double[windows];
        Arrays.setAll(paired, window -> candidate.windowNll()[window] - baseline.windowNll()[window]);
        return paired;
    }
}
