package dev.optgptq.gptq.convert.fit;

import java.util.List;

/**
 * How a fit went, judged by tokens that it had not seen.
 *
 * @param ridge lambda, of the mean of the diagonal; NaN where the weights stayed as they were
 * @param before mean squared error of what was there
 * @param after of what was kept
 */
public record Fit(double ridge, double before, double after) {

    /** Lambdas that are tried: shrinking towards the present weights. */
    public static final List<Double> RIDGES = List.of(1e-4, 1e-3, 1e-2, 1e-1);

    /** Nothing was better than what was there. */
    static Fit unchanged(double error) {
        return new Fit(Double.NaN, error, error);
    }

    public boolean kept() {
        return !Double.isNaN(ridge);
    }
}
