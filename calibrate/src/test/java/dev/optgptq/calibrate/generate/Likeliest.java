package dev.optgptq.calibrate.generate;

import static org.junit.jupiter.api.Assertions.assertTrue;

/** Whether a token is the likeliest, but for the rounding of logits that were computed in another order. */
final class Likeliest {

    /** Of the largest logit. */
    private static final double TOLERANCE = 1e-4;

    private Likeliest() {}

    static void require(float[] logits, int token, String what) {
        float most = Float.NEGATIVE_INFINITY;
        double largest = 0;
        for (float logit : logits) {
            most = Math.max(most, logit);
            largest = Math.max(largest, Math.abs(logit));
        }
        float behind = most - logits[token];
        double allowed = TOLERANCE * largest;
        assertTrue(behind <= allowed, () -> what + " is " + behind + " behind the likeliest, allowed " + allowed);
    }
}
