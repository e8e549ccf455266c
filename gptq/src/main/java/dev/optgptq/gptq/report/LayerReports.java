package dev.optgptq.gptq.report;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.solve.LinearSolution;
import java.util.Locale;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Turns solutions into report entries, and names layers with problems.
 *
 * @param askedDamp the damping in the settings
 * @param log receives problems
 */
public record LayerReports(double askedDamp, Consumer<String> log) {

    /** A layer that loses this share of its output's energy is unusable. */
    private static final double LOST = 0.5;
    /** Where float16 ends, and where its numbers have 5 bits left: the step that a scale is rounded to is then 1/32 of it. */
    private static final float LARGEST_SCALE = 65504;
    private static final float LEAST_SCALE = 0x1p-19f;

    /** The entry of a linear. Throws UserError NUMERIC when its weight is not finite. */
    public RunReport.Layer of(int block, SolvedLinear solved) {
        LinearSolution solution = solved.solution();
        Double error = solution.outputError();
        if (!Double.isFinite(solution.weightError()) || (error != null && !Double.isFinite(error))) {
            throw new UserError(UserError.Code.NUMERIC, solved.linear().module()
                    + ": the quantized weight is not finite; the source weight or its calibration inputs are damaged");
        }
        requireWithinScales(solved.linear().module(), solution);
        String problem = problem(solved);
        if (problem != null) {
            log.accept(solved.linear().module() + ": " + problem);
        }
        Activity activity = solved.activity();
        Integer expert = solved.linear().expert() == LinearSpec.NO_EXPERT ? null : (Integer) solved.linear().expert();
        return new RunReport.Layer(solved.linear().module(), solved.linear().role(), block, solved.linear().inputs(),
                solved.linear().outputs(), error, solution.weightError(), solution.damp(), solution.dampAttempts(),
                solution.deadInputs(), activity == null ? null : (Double) (double) activity.input(),
                activity == null ? null : (Double) (double) activity.residual(), expert,
                activity == null ? null : (Long) activity.tokens(),
                activity == null || expert == null ? null : (Double) activity.shrunk(), solved.seconds(), problem);
    }

    /** A layer of which nothing is left is not written. */
    private static void requireWithinScales(String module, LinearSolution solution) {
        String outside = outsideOfScales(solution);
        if (outside != null && solution.weightError() > LOST) {
            throw new UserError(UserError.Code.NUMERIC, module + ": " + outside);
        }
    }

    private @Nullable String problem(SolvedLinear solved) {
        LinearSolution solution = solved.solution();
        Double error = solution.outputError();
        String outside = outsideOfScales(solution);
        if (outside != null) {
            return outside;
        }
        if (error != null && error > LOST) {
            return lost("output", error);
        }
        if (solution.deadInputs() == solved.linear().inputs()) {
            return "none of its inputs was active on the calibration text: its weights are rounded to nearest";
        }
        if (error == null && solution.weightError() > LOST) {
            return lost("weight", solution.weightError());
        }
        if (solution.damp() != null && solution.dampAttempts() > 1) {
            return String.format(Locale.ROOT, "the Hessian is close to singular: damping %.4g instead of %.4g; more "
                    + "calibration text would help", solution.damp(), askedDamp);
        }
        return null;
    }

    private static String lost(String of, double error) {
        return String.format(Locale.ROOT, "%.0f %% of the %s's energy is lost: more bits or smaller groups",
                100 * error,
                of);
    }

    /** More bits and smaller groups would not help there: formats and runtimes have float16 scales. */
    private static @Nullable String outsideOfScales(LinearSolution solution) {
        boolean large = solution.largestScale() >= LARGEST_SCALE;
        if (!large && solution.largestScale() >= LEAST_SCALE) {
            return null;
        }
        return String.format(Locale.ROOT,
                "its weights are too %s for float16 scales, which %s: %.2g of the weight's energy is lost. Scale the weight %s in "
                        + "the source model, and what multiplies it (the norm before it) the other way",
                large ? "large" : "small", large ? "end at 65504" : "are coarse below 2e-6 and end at 6e-8",
                solution.weightError(), large ? "down" : "up");
    }
}
