package dev.optgptq.gptq.solve;

import java.util.ArrayList;
import java.util.List;

/**
 * Improvements of a solution on its own objective (docs/algorithms.md, section 7). The published GPTQ has none.
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

    /** Whether there is nothing to do. */
    public boolean isNone() {
        return !refitScales && sweeps == 0;
    }

    /** The steps to try: first the scales alone if it has both, then scales and codes. */
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
     * Number of matmuls of the Hessian with a matrix of the weight's shape, which is nearly all of its work. A refit
     * has one for the errors, and those for the upper half of the normal matrix.
     */
    public double products() {
        return (refitScales ? 1.5 : 0) + sweeps;
    }
}
