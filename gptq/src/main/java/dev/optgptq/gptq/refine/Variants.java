package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.gptq.solve.Polish;
import java.util.ArrayList;
import java.util.List;

/**
 * The variants in which a block is solved. Error propagation uses equal token weights, whether or not token weights
 * were kept.
 */
final class Variants {

    /** Strength of error propagation; 1 would fit the noise of the calibration text (docs/algorithms.md, section 5). */
    private static final float STRENGTH = 0.5f;

    /**
     * Validation weights tokens like these Hessians, so they win there by a few tenths of a percent even where the
     * model's predictions do not improve (docs/results/gradient.md).
     */
    private static final double WEIGHTS_MARGIN = 0.01;

    private Variants() {}

    /**
     * One of them.
     *
     * @param step what it adds to those before it
     * @param weighted whether its Hessian weights tokens
     * @param searched whether its scales are searched
     * @param attention strength of error propagation in the attention's linears
     * @param mlp the same in the MLP's
     * @param polish the polishing of its solutions
     * @param margin by what share it must lower a block's error to be kept
     */
    record Variant(String step, boolean weighted, boolean searched, float attention, float mlp, Polish polish,
            double margin) {

        Variant(String step, boolean weighted, boolean searched, float attention, float mlp, double margin) {
            this(step, weighted, searched, attention, mlp, Polish.NONE, margin);
        }

        String note() {
            if (polish.sweeps() > 0) {
                return "sweeps: " + polish.sweeps() + (polish.refitScales() ? ", from refitted scales" : "");
            }
            return attention > 0 ? "strength " + attention + " in attention, " + mlp + " in the MLP" : "";
        }

        /** This with its solutions polished. */
        Variant polished(Polish by) {
            return new Variant(by.sweeps() > 0 ? "coordinate descent" : "scale refit", weighted, searched, attention,
                    mlp, by, 0);
        }
    }

    /** GPTQ as published, with which the others are compared. */
    static final Variant PLAIN = new Variant("gptq", false, false, 0, 0, 0);

    /**
     * @param block that is solved; errors are not propagated in experts, whose tokens differ in the two models
     * @param weighs whether tokens have different weights
     */
    static List<Variant> beyond(Refinement refinement, BlockSpec block, boolean weighs) {
        List<Variant> variants = new ArrayList<>();
        variants.add(new Variant("scale search", false, true, 0, 0, 0));
        if (weighs) {
            variants.add(new Variant("token weights", true, true, 0, 0, WEIGHTS_MARGIN));
        }
        if (refinement.propagate()) {
            variants.add(new Variant("error propagation in attention", false, true, STRENGTH, 0, 0));
            if (block.sites().contains(InputSite.MLP_INPUT)) {
                variants.add(new Variant("error propagation", false, true, STRENGTH, STRENGTH, 0));
            }
        }
        return variants;
    }
}
