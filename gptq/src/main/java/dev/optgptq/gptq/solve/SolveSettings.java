package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.ops.Grid;

/**
 * Settings of the solver.
 *
 * @param grid what a code stands for
 * @param groupSize inputs per scale, at least 1; at most the inputs of a linear
 * @param actOrder order and groups
 * @param damp share of the mean of the Hessian's diagonal that is added to the diagonal, at least 0
 */
public record SolveSettings(Grid grid, int groupSize, ActOrder actOrder, double damp) {

    public SolveSettings {
        if (groupSize < 1 || !(damp >= 0)) {
            throw new IllegalArgumentException("bad settings: group size " + groupSize + ", damp " + damp);
        }
    }

    /** The same on another grid. */
    public SolveSettings on(int bits, boolean symmetric, int inputsPerScale) {
        return new SolveSettings(new Grid(bits, symmetric, grid.clipSearch(), grid.scaleType(), grid.positiveScales()),
                inputsPerScale, actOrder, damp);
    }

    /** The same with one group for all {@code inputs} if groupSize is larger. */
    int groupSizeFor(int inputs) {
        return Math.min(groupSize, inputs);
    }
}
