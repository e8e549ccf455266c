package dev.optgptq.calibrate.eval;

import org.apache.commons.math3.stat.StatUtils;
import org.jspecify.annotations.Nullable;

/**
 * Whether two models differ in mean cross-entropy by more than chance, paired over windows. Two tests: Student's t, for the
 * mean, assumes that means of windows are about normal; Wilcoxon's signed rank test does not, and no single window can
 * decide it.
 *
 * @param windows how many pairs
 * @param difference candidate minus baseline, nats per token, mean over windows
 * @param low lower end of its 95 % confidence interval (Student's t); equals difference for one window
 * @param high its upper end
 * @param tTest two-sided p-value of the paired t-test; null for one window
 * @param signedRank two-sided p-value of the signed rank test; null for one window
 */
public record PairedTest(int windows, double difference, double low, double high, @Nullable Double tTest,
        @Nullable Double signedRank) {

    /** With fewer windows the signed rank test cannot reach the level: all of five on one side is 2 in 2^5. */
    public static final int LEAST_WINDOWS = 6;

    private static final double LEVEL = 0.05;

    static PairedTest of(double[] differences) {
        double mean = StatUtils.mean(differences);
        double half = StudentT.halfWidth(differences);
        boolean tested = differences.length > 1;
        return new PairedTest(differences.length, mean, mean - half, mean + half,
                tested ? StudentT.pValue(differences) : null, tested ? SignedRank.pValue(differences) : null);
    }

    /** The larger p-value of the two tests: a difference must be significant in both. 1 for one window. */
    public double p() {
        return tTest == null || signedRank == null ? 1 : Math.max(tTest, signedRank);
    }

    /** Whether the difference is more than chance, at the level of 5 %. */
    public boolean shown() {
        return p() < LEVEL;
    }
}
