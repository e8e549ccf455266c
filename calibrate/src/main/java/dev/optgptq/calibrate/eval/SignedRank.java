package dev.optgptq.calibrate.eval;

import java.util.Arrays;
import org.apache.commons.math3.distribution.NormalDistribution;
import org.apache.commons.math3.stat.ranking.NaturalRanking;
import org.apache.commons.math3.stat.ranking.TiesStrategy;

/**
 * Wilcoxon's signed rank test (Biometrics Bulletin 1, 1945). Pairs without a difference are left out, equal differences
 * share their mean rank. Commons Math has the test too, but counts pairs without a difference for one side, so that a
 * model would differ from itself, and its exact form visits all 2^n patterns of signs.
 */
final class SignedRank {

    /** Up to here the distribution is exact; beyond, the normal one is as good. */
    private static final int EXACT = 50;

    private SignedRank() {}

    /** Probability of rank sums at least this uneven, on either side, if each difference had either sign as likely. */
    static double pValue(double[] differences) {
        double[] some = Arrays.stream(differences).filter(difference -> difference != 0).toArray();
        if (some.length == 0) {
            return 1;
        }
        double[] ranks = new NaturalRanking(TiesStrategy.AVERAGE).rank(Arrays.stream(some).map(Math::abs).toArray());
        double positive = 0;
        for (int i = 0; i < some.length; i++) {
            positive += some[i] > 0 ? ranks[i] : 0;
        }
        double lesser = Math.min(positive, Arrays.stream(ranks).sum() - positive);
        return Math.min(1, 2 * (some.length <= EXACT ? exact(ranks, lesser) : normal(ranks, lesser)));
    }

    /** P(W &lt;= w), rank by rank: each goes to the sum with probability 1/2. Shared ranks are halves, hence doubled. */
    private static double exact(double[] ranks, double w) {
        int[] doubled = Arrays.stream(ranks).mapToInt(rank -> (int) Math.round(2 * rank)).toArray();
        double[] probability = new double[Arrays.stream(doubled).sum() + 1];
        probability[0] = 1;
        for (int rank : doubled) {
            for (int sum = probability.length - 1; sum >= 0; sum--) {
                probability[sum] = (probability[sum] + (sum < rank ? 0 : probability[sum - rank])) / 2;
            }
        }
        return Arrays.stream(probability).limit(Math.round(2 * w) + 1).sum();
    }

    /** P(W &lt;= w): variance sum rank^2 / 4, which holds with shared ranks too, and half a rank for continuity. */
    private static double normal(double[] ranks, double w) {
        double mean = Arrays.stream(ranks).sum() / 2;
        double variance = Arrays.stream(ranks).map(rank -> rank * rank).sum() / 4;
        return new NormalDistribution().cumulativeProbability(Math.min(0, w + 0.5 - mean) / Math.sqrt(variance));
    }
}
