package dev.optgptq.gptq.settings;

import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;

/**
 * How codes are chosen.
 *
 * @param calibrator the method
 * @param clipSearch whether the clipping range is searched for the least error
 * @param scaleSearch whether each group's scale is searched before solving, weighted by the Hessian's diagonal; gradient
 *     calibration always does
 * @param actOrder order and groups
 * @param damp share of the Hessian's mean diagonal that is added to it, raised when that is not enough
 * @param trueSequential whether inputs are recomputed between the sites of a block
 */
public record SolvingSettings(CalibratorKind calibrator, boolean clipSearch, boolean scaleSearch, ActOrder actOrder,
        double damp, boolean trueSequential) {}
