package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SignedRankTest {

    /** All on one side is the most uneven: one pattern of signs in 2^6, and its mirror. */
    @Test
    void sixPairsOnOneSideHaveTheSmallestPValueThatSixCanHave() {
        assertEquals(2.0 / 64, SignedRank.pValue(new double[] {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}), 1e-15);
        assertEquals(2.0 / 64, SignedRank.pValue(new double[] {-6, -5, -4, -3, -2, -1}), 1e-15);
    }

    /** The negative rank sum is 5; of 1..5 the subsets up to 5 are {} 1 2 3 4 5 12 13 14 23: 10 of 32, on each side. */
    @Test
    void ranksDecideAndNotTheSizeOfTheDifferences() {
        assertEquals(20.0 / 32, SignedRank.pValue(new double[] {1, 2, 3, 4, -5}), 1e-15);
        assertEquals(20.0 / 32, SignedRank.pValue(new double[] {1, 2, 3, 4, -5e9}), 1e-15);
    }

    /** Ranks 1.5, 1.5, 3, 4 with 1.5 negative: the patterns up to 1.5 are {}, and either of the two: 3 of 16. */
    @Test
    void equalDifferencesShareTheirRank() {
        assertEquals(6.0 / 16, SignedRank.pValue(new double[] {1, -1, 2, 3}), 1e-15);
    }

    @Test
    void pairsWithoutADifferenceAreLeftOut() {
        assertEquals(2.0 / 64, SignedRank.pValue(new double[] {0, 1, 0, 2, 3, 4, 5, 6, -0.0}), 1e-15);
        assertEquals(1, SignedRank.pValue(new double[20]));
    }

    /** n = 60, negative every third: W = 630 against mean 915 and variance n (n + 1) (2n + 1) / 24 = 18452.5. */
    @Test
    void manyPairsFollowTheNormalDistribution() {
        double[] differences = IntStream.rangeClosed(1, 60).mapToDouble(i -> i % 3 == 0 ? -i : i).toArray();
        double z = (630 + 0.5 - 915) / Math.sqrt(18452.5);
        assertEquals(0.0362, SignedRank.pValue(differences), 1e-4, "z = " + z);
    }
}
