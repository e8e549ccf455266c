package dev.optgptq.gptq.solve;

import java.util.ArrayList;
import java.util.List;

/**
 * What is done to a solution afterwards, on the objective that it was solved for (docs/algorithms.md, section 7). Nothing is, as published.
 *
 * @param refitScales whether the scales of its groups are refitted to the codes
 * @param sweeps of coordinate descent over the codes, the grid fixed; 0 for none
 */
public record Polish(boolean refitScales, int sweeps) {

    /** As published. */
    public static final Polish NONE = new Polish(false, 0);

    public Polish {
        if (sweeps < 0) {
            throw new IllegalArgumentException("sweeps: expected at least 0, found " + sweeps);
        }
    }

    /** Whether nothing is done. */
    public boolean isNone() {
        return !refitScales && sweeps == 0;
    }

    /** Itself, and before it what it begins with if that is less: scales alone, then scales and codes. */
    public List<Polish> steps() {
        List<Polish> steps = new ArrayList<>();
        if (refitScales) {
            steps.add(new Polish(true, 0));
        }
        if (sweeps > 0) {
            steps.add(this);
        }
        return steps;
    }

    /**
     * How often it multiplies the Hessian with a matrix like the weight: nearly all that it computes. A refit does so with
     * the errors, and with the upper half of the normal matrix to be found.
     */
    public double products() {
        return (refitScales ? 1.5 : 0) + sweeps;
    }
}
