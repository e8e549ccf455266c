package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.run.progress.WorkCount;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/** How a calibrator solves the linears of a site, on any device. */
record SiteSolving(Calibrator calibrator, ModuleGrids grids) {

    /**
     * Factorises the Hessian of a site, for all linears that read it. The caller closes it.
     *
     * @param weights on the model's device, like the Hessian
     */
    SiteSolver solver(Transformer model, BlockWeights weights, InputSite site, @Nullable Tensor hessian) {
        LinearSpec any = grids.quantized(weights.linears(site)).getFirst();
        return new SiteSolver(model.device(), calibrator.with(grids.settings(calibrator.settings(), any)), hessian,
                "block " + weights.index() + ", " + site.label());
    }

    /**
     * Solves a linear, and gives the block its quantized weight.
     *
     * @param activity largest input magnitudes; null without calibration
     * @param arena owns the codes
     */
    SolvedLinear solve(Transformer model, BlockWeights weights, LinearSpec linear, SiteSolver solver,
            @Nullable Activity activity, TensorArena arena) {
        long start = System.nanoTime();
        LinearSolution solution = weights.rewrite(model.device(), linear, weight -> solver.solve(arena, weight));
        return new SolvedLinear(linear, solution, activity, (System.nanoTime() - start) / 1e9);
    }

    /** Floating-point operations of solving a linear. */
    double operations(LinearSpec linear, WorkCount flops) {
        return flops.solve(linear, calibrator.needsHessian()) + flops.polish(linear, calibrator.polish());
    }
}
