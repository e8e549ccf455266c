package dev.optgptq.gptq.solve;

/**
 * How codes are chosen for a linear. Each declares which calibration data it needs; the run provides only that.
 */
public sealed interface Calibrator {

    SolveSettings settings();

    /** The same with other settings. */
    default Calibrator with(SolveSettings other) {
        return switch (this) {
            case RoundToNearest _ -> new RoundToNearest(other);
            case Gptq gptq -> new Gptq(other, gptq.searchScales, gptq.polish);
            case Gradient _ -> new Gradient(other);
        };
    }

    /** Whether it needs the Hessian of a linear's inputs, hence calibration data. */
    boolean needsHessian();

    /** Whether that Hessian weights tokens by the loss's gradient. */
    default boolean needsGradients() {
        return false;
    }

    /** The polishing of every solution. */
    default Polish polish() {
        return Polish.NONE;
    }

    /** Every weight to its nearest code; groups of neighbours. */
    record RoundToNearest(SolveSettings settings) implements Calibrator {
        @Override
        public boolean needsHessian() {
            return false;
        }
    }

    /**
     * GPTQ in several variants, weighted by the loss's gradient, of which each block keeps those that help
     * (docs/algorithms.md, section 9).
     */
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
     * @param searchScales whether scales are searched beforehand, unlike the paper
     * @param polish the polishing of each solution, unlike the paper
     */
    record Gptq(SolveSettings settings, boolean searchScales, Polish polish) implements Calibrator {

        /** Solutions are left as they are, as published. */
        public Gptq(SolveSettings settings, boolean searchScales) {
            this(settings, searchScales, Polish.NONE);
        }

        @Override
        public boolean needsHessian() {
            return true;
        }
    }
}
