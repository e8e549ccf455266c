package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Objects;
import org.junit.jupiter.api.Test;

class PairedTestTest {

    /** Mean 0.2, standard error 0.1 / sqrt(3); t = 2 sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2). */
    @Test
    void theIntervalAndTheTTestAreThoseOfTheMean() {
        PairedTest found = PairedTest.of(new double[] {0.1, 0.2, 0.3});
        assertEquals(0.2, found.difference(), 1e-12);
        assertEquals(0.2 - 4.302653 * 0.1 / Math.sqrt(3), found.low(), 1e-6);
        assertEquals(0.2 + 4.302653 * 0.1 / Math.sqrt(3), found.high(), 1e-6);
        assertEquals(1 - 2 * Math.sqrt(3) / Math.sqrt(14), tTest(found), 1e-9);
        assertEquals(2.0 / 8, signedRank(found), 1e-15);
    }

    @Test
    void aDifferenceHasToConvinceBothTests() {
        assertTrue(PairedTest.of(new double[] {0.10, 0.11, 0.12, 0.13, 0.14, 0.15}).shown());
        // Twelve small losses and one large gain: only the ranks are convinced.
        double[] outlier = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, -400};
        assertTrue(tTest(PairedTest.of(outlier)) > 0.05);
        assertTrue(signedRank(PairedTest.of(outlier)) < 0.05);
        assertFalse(PairedTest.of(outlier).shown());
        // Five equal ones: the t-test is certain, the ranks cannot be.
        double[] few = {0.1, 0.1, 0.1, 0.1, 0.1001};
        assertTrue(tTest(PairedTest.of(few)) < 1e-6);
        assertFalse(PairedTest.of(few).shown());
    }

    @Test
    void oneWindowShowsNothing() {
        assertEquals(new PairedTest(1, 0.5, 0.5, 0.5, null, null), PairedTest.of(new double[] {0.5}));
        assertFalse(PairedTest.of(new double[] {0.5}).shown());
    }

    @Test
    void noDifferenceAnywhereHasThePValueOne() {
        assertEquals(new PairedTest(7, 0, 0, 0, 1.0, 1.0), PairedTest.of(new double[7]));
    }

    private static double tTest(PairedTest test) {
        return Objects.requireNonNull(test.tTest());
    }

    private static double signedRank(PairedTest test) {
        return Objects.requireNonNull(test.signedRank());
    }
}
