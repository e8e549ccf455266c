package dev.optgptq.gptq.solve;

/**
 * How codes are chosen for a linear. Each knows what it needs of the calibration data; the run provides that and nothing
 * more.
 */
public sealed interface Calibrator {

    SolveSettings settings();

    /** Whether it needs the Hessian of a linear's inputs, hence calibration data. */
    boolean needsHessian();

    /** Whether that Hessian weighs tokens by the loss's gradient. */
    default boolean needsGradients() {
        return false;
    }

    /** Every weight to its nearest code; groups are runs of neighbours. */
    record RoundToNearest(SolveSettings settings) implements Calibrator {
        @Override
        public boolean needsHessian() {
            return false;
        }
    }

    /** GPTQ in several variants, weighted by the loss's gradient, of which each block keeps what helps it (notes 3.11). */
    record Gradient(SolveSettings settings) implements Calibrator {
        @Override
        public boolean needsHessian() {
            return true;
        }

        @Override
        public boolean needsGradients() {
            return true;
        }
    }

    /**
     * GPTQ as published, on the Hessian 2/N X^T X.
     *
     * @param searchScales whether scales are searched before, which is not as published
     */
    record Gptq(SolveSettings settings, boolean searchScales) implements Calibrator {
        @Override
        public boolean needsHessian() {
            return true;
        }
    }
}
