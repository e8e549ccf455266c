package dev.optgptq.gptq.convert.fit;

import java.util.List;

/**
 * The outcome of a fit, validated on held-out tokens.
 *
 * @param ridge lambda, relative to the mean of the diagonal; NaN if the weights were kept
 * @param before mean squared error of the initial weights
 * @param after of the kept weights
 */
public record Fit(double ridge, double before, double after) {

    /** Candidate lambdas, which shrink towards the present weights. */
    public static final List<Double> RIDGES = List.of(1e-4, 1e-3, 1e-2, 1e-1);

    /** The initial weights were best. */
    static Fit unchanged(double error) {
        return new Fit(Double.NaN, error, error);
    }

    public boolean kept() {
        return !Double.isNaN(ridge);
    }
}
