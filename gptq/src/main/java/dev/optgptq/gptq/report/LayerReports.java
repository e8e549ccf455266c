package dev.optgptq.gptq.report;

import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.solve.LinearSolution;
import java.util.Locale;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Turns solutions into report entries, and says which did not go well.
 *
 * @param askedDamp the damping that the user asked for
 * @param log hears of problems
 */
public record LayerReports(double askedDamp, Consumer<String> log) {

    /** A layer that loses this share of its output's energy is as good as lost. */
    private static final double LOST = 0.5;

    /** The entry of a linear. Throws UserError NUMERIC when its weight is not finite. */
    public RunReport.Layer of(int block, SolvedLinear solved) {
        LinearSolution solution = solved.solution();
        Double error = solution.outputError();
        if (!Double.isFinite(solution.weightError()) || (error != null && !Double.isFinite(error))) {
            throw new UserError(UserError.Code.NUMERIC, solved.linear().module()
                    + ": the quantized weight is not finite; the source weight or its calibration inputs are damaged");
        }
        String problem = problem(solution);
        if (problem != null) {
            log.accept(solved.linear().module() + ": " + problem);
        }
        return new RunReport.Layer(solved.linear().module(), solved.linear().role(), block, solved.linear().inputs(),
                solved.linear().outputs(), error, solution.weightError(), solution.damp(), solution.dampAttempts(),
                solution.deadInputs(), solved.seconds(), problem);
    }

    private @Nullable String problem(LinearSolution solution) {
        Double error = solution.outputError();
        if (error != null && error > LOST) {
            return String.format(Locale.ROOT, "%.0f %% of the output's energy is lost: more bits or smaller groups",
                    100 * error);
        }
        if (solution.damp() != null && solution.dampAttempts() > 1) {
            return String.format(Locale.ROOT, "the Hessian is close to singular: damping %.4g instead of %.4g; more "
                    + "calibration text would help", solution.damp(), askedDamp);
        }
        return null;
    }
}
