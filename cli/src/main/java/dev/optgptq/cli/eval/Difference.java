package dev.optgptq.cli.eval;

import dev.optgptq.calibrate.eval.PairedTest;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Whether a model is significantly worse than its baseline.
 *
 * @param nats mean cross-entropy of the model minus that of the baseline, per token
 * @param low lower end of its 95 % confidence interval, paired over windows
 * @param high its upper end
 * @param tTest p-value of the paired t-test; null for one window
 * @param signedRank p-value of Wilcoxon's signed rank test; null for one window
 * @param shown whether both are below 0.05
 * @param sentence the conclusion, for people
 */
public record Difference(double nats, double low, double high, @Nullable Double tTest, @Nullable Double signedRank,
        boolean shown, String sentence) {

    private static final int LEAST_DECIMALS = 4;
    private static final int MOST_DECIMALS = 9;
    private static final double TINY = 0.001;

    static Difference of(PairedTest test) {
        return new Difference(test.difference(), test.low(), test.high(), test.tTest(), test.signedRank(), test.shown(),
                sentence(test));
    }

    private static String sentence(PairedTest test) {
        int decimals = decimals(test.high() - test.low());
        String unproven = "no difference shown: " + (test.difference() < 0 ? "" : "+")
                + fixed(test.difference(), decimals) + " nats per token";
        if (test.windows() < PairedTest.LEAST_WINDOWS) {
            return unproven + " over " + test.windows() + (test.windows() == 1 ? " window" : " windows")
                    + ", and at least " + PairedTest.LEAST_WINDOWS + " are needed for a test";
        }
        if (!test.shown()) {
            return unproven + interval(test.low(), test.high(), decimals) + ", " + p(test.p());
        }
        return test.difference() > 0
                ? "worse by " + fixed(test.difference(), decimals) + " nats per token"
                        + interval(test.low(), test.high(), decimals) + ", " + p(test.p())
                : "better by " + fixed(-test.difference(), decimals) + " nats per token"
                        + interval(-test.high(), -test.low(), decimals) + ", " + p(test.p());
    }

    /** Enough for two digits of the interval's width. */
    private static int decimals(double width) {
        return width > 0
                ? (int) Math.clamp(1 - Math.floor(Math.log10(width)), LEAST_DECIMALS, MOST_DECIMALS)
                : LEAST_DECIMALS;
    }

    private static String interval(double low, double high, int decimals) {
        return " (95 % " + fixed(low, decimals) + " to " + fixed(high, decimals) + ")";
    }

    private static String p(double p) {
        return p < TINY ? "p < " + TINY : String.format(Locale.ROOT, "p = %.3f", p);
    }

    private static String fixed(double value, int decimals) {
        return String.format(Locale.ROOT, "%." + decimals + "f", value);
    }
}
