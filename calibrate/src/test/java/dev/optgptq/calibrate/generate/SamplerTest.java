package dev.optgptq.calibrate.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.testing.Failures;
import dev.optgptq.formats.UserError;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SamplerTest {

    private static final float[] LOGITS = {1, 3, 2, 3, -1};

    @Test
    void withoutATemperatureTheFirstOfTheLikeliestIsTaken() {
        assertEquals(1, new Sampler(Sampling.GREEDY, 0).choose(LOGITS));
    }

    @Test
    void drawsFollowTheSoftmaxOfTheLogitsOverTheTemperature() {
        Sampler sampler = new Sampler(new Sampling(2, 0, 1, 1, 42), 0);
        int draws = 200_000;
        int[] counts = counts(sampler, draws);
        double total = IntStream.range(0, 5).mapToDouble(i -> Math.exp(LOGITS[i] / 2)).sum();
        for (int token = 0; token < 5; token++) {
            double expected = Math.exp(LOGITS[token] / 2) / total;
            // Five standard deviations.
            assertEquals(expected, counts[token] / (double) draws, 5 * Math.sqrt(expected / draws), "token " + token);
        }
    }

    @Test
    void topKLeavesTheLikeliest() {
        int[] counts = counts(new Sampler(new Sampling(1, 2, 1, 1, 7), 0), 1000);
        assertEquals(1000, counts[1] + counts[3]);
        assertTrue(counts[1] > 400 && counts[3] > 400);
    }

    @Test
    void topPLeavesTheFewestThatReachTheShare() {
        // Shares 0.051, 0.38, 0.14, 0.38, 0.007: two reach 0.7, and a third is needed for 0.8.
        int[] two = counts(new Sampler(new Sampling(1, 0, 0.7, 1, 7), 0), 1000);
        assertEquals(1000, two[1] + two[3]);
        int[] three = counts(new Sampler(new Sampling(1, 0, 0.8, 1, 7), 0), 1000);
        assertTrue(three[2] > 0);
        assertEquals(0, three[0] + three[4]);
    }

    @Test
    void aRepeatedTokenIsPutBack() {
        Sampler sampler = new Sampler(new Sampling(0, 0, 1, 1.6, 0), 0);
        sampler.see(1, 3);
        assertEquals(2, sampler.choose(LOGITS), "3 / 1.6 is less than 2");
    }

    @Test
    void oneSeedGivesTheSameDrawsAndStreamsTellRequestsApart() {
        Sampling sampling = new Sampling(1, 0, 1, 1, 3);
        int[] first = draws(new Sampler(sampling, 0));
        assertEquals(IntStream.of(first).boxed().toList(),
                IntStream.of(draws(new Sampler(sampling, 0))).boxed().toList());
        assertTrue(!IntStream.of(first).boxed().toList()
                .equals(IntStream.of(draws(new Sampler(sampling, 1))).boxed().toList()));
    }

    @Test
    void aLogProbabilityIsThatOfTheSoftmax() {
        double total = IntStream.range(0, 5).mapToDouble(i -> Math.exp(LOGITS[i])).sum();
        assertEquals(Math.log(Math.exp(2) / total), Sampler.logProbability(LOGITS, 2), 1e-12);
    }

    @Test
    void settingsOutsideTheirRangeAreRefused() {
        Failures.assertUserError(UserError.Code.BAD_SETTING, () -> new Sampling(-1, 0, 1, 1, 0), "temperature", "-1");
        Failures.assertUserError(UserError.Code.BAD_SETTING, () -> new Sampling(1, 0, 0, 1, 0), "top-p");
        Failures.assertUserError(UserError.Code.BAD_SETTING, () -> new Sampling(1, -3, 1, 1, 0), "top-k", "-3");
        Failures.assertUserError(UserError.Code.BAD_SETTING, () -> new Sampling(1, 0, 1, 0, 0), "repetition");
    }

    private static int[] counts(Sampler sampler, int draws) {
        int[] counts = new int[LOGITS.length];
        for (int i = 0; i < draws; i++) {
            counts[sampler.choose(LOGITS)]++;
        }
        return counts;
    }

    private static int[] draws(Sampler sampler) {
        return IntStream.range(0, 50).map(i -> sampler.choose(LOGITS)).toArray();
    }
}
