package dev.optgptq.calibrate.eval;

import org.apache.commons.math3.distribution.TDistribution;
import org.apache.commons.math3.stat.StatUtils;

/** Student's t for means of windows, at 95 %. */
final class StudentT {

    private static final double CONFIDENCE = 0.95;

    private StudentT() {}

    /** Half the confidence interval of the mean; 0 for a single value, whose spread is unknown. */
    static double halfWidth(double[] values) {
        if (values.length < 2) {
            return 0;
        }
        double quantile = new TDistribution(values.length - 1.0).inverseCumulativeProbability((1 + CONFIDENCE) / 2);
        return quantile * standardError(values);
    }

    /** Probability of a mean at least this far from 0, on either side, if the true mean is 0; at least two values. */
    static double pValue(double[] values) {
        double mean = StatUtils.mean(values);
        double error = standardError(values);
        if (error == 0) {
            return mean == 0 ? 1 : 0;
        }
        return 2 * new TDistribution(values.length - 1.0).cumulativeProbability(-Math.abs(mean) / error);
    }

    private static double standardError(double[] values) {
        return Math.sqrt(StatUtils.variance(values) / values.length);
    }
}
