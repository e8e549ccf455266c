package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * One linear, solved.
 *
 * @param activity largest magnitudes of its input and of the residual stream; null without calibration
 * @param seconds time to solve it, its share of the factorisation not included
 */
public record SolvedLinear(LinearSpec linear, LinearSolution solution, @Nullable Activity activity, double seconds) {

    /** The same figures with these integers. */
    SolvedLinear with(QuantizedWeight weight) {
        return new SolvedLinear(linear, solution.with(weight), activity, seconds);
    }

    /** This with a copy of its integers on another device. */
    public SolvedLinear on(Device owner, Device other, TensorArena arena) {
        return new SolvedLinear(linear, solution.on(owner, other, arena), activity, seconds);
    }
}
