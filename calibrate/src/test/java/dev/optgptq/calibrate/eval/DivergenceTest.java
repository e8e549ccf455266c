package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class DivergenceTest {

    /** Windows of 3 tokens, so of 2 predictions: means 1, 2 and 3, standard error 1 / sqrt(3), t of 2 degrees 4.30265. */
    @Test
    void theMeanIsOverPredictionsAndItsIntervalOverWindows() {
        double[] kl = {0.5, 1.5, 99, 2, 2, 99, 1, 5, 99};
        Divergence found = Divergence.of(kl, new int[9], 3);
        assertEquals(2, found.kl(), 1e-12);
        assertEquals(0, found.klLow(), "a divergence is not negative");
        assertEquals(2 + 4.302653 / Math.sqrt(3), found.klHigh(), 1e-6);
        assertEquals((1.5 + 2) / 2, found.klMedian(), 1e-12);
    }

    @Test
    void thePercentileIsOverPredictions() {
        double[] kl = IntStream.range(0, 101).mapToDouble(i -> i == 100 ? 1e9 : i).toArray();
        Divergence found = Divergence.of(kl, new int[101], 101);
        // The 99th of 0..99, at 0.99 * 101 among a hundred values.
        assertEquals(98.99, found.klPercentile99(), 1e-9);
    }

    /** Shares 1, 1/2 and 1 of two predictions: mean 5/6, standard error 1/6; the interval ends at 1. */
    @Test
    void agreementIsAShareOfThePredictions() {
        Divergence found = Divergence.of(new double[9], new int[] {1, 1, 0, 1, 0, 0, 1, 1, 0}, 3);
        assertEquals(5.0 / 6, found.top1(), 1e-12);
        assertEquals(5.0 / 6 - 4.302653 / 6, found.top1Low(), 1e-6);
        assertEquals(1, found.top1High());
    }
}
