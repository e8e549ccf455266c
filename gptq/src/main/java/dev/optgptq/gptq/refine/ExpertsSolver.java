package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.refine.Variants.Variant;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.GptqVariant;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * Solves the experts of a block whose Hessians are parked, one after the other on the first device: one Hessian, its factor and one
 * linear are in memory at a time. A factor is not kept for the next variant.
 *
 * @param settings of all linears but for their grids
 */
record ExpertsSolver(Device device, SolveSettings settings, ModuleGrids grids, BlockMoments moments, Phases phases) {

    /** @param weights streamed; experts compute with what is found from here on */
    void solve(Variant variant, List<LinearSpec> linears, BlockWeights weights, ParkedLinears into) {
        Map<InputSite, List<LinearSpec>> bySite = linears.stream()
                .collect(Collectors.groupingBy(LinearSpec::site, LinkedHashMap::new, Collectors.toList()));
        bySite.forEach((site, its) -> {
            try (SiteSolver solver = new SiteSolver(device, new Calibrator.Gradient(grids.settings(settings,
                    its.getFirst())), moments.hessian(site, variant.weighted()),
                    "block " + weights.index() + ", " + site.label())) {
                for (LinearSpec linear : its) {
                    solve(variant, linear, solver, weights, into);
                    phases.solved(linear, variant.polish());
                }
            } finally {
                moments.release(site, variant.weighted());
            }
        });
    }

    private void solve(Variant variant, LinearSpec linear, SiteSolver solver, BlockWeights weights,
            ParkedLinears into) {
        long start = System.nanoTime();
        try (TensorArena arena = device.arena()) {
            LinearSolution solution = solver.solve(arena, weights.weight(linear),
                    new GptqVariant(variant.searched(), null, variant.polish(), false));
            into.park(new SolvedLinear(linear, solution, moments.activity(linear.site()),
                    (System.nanoTime() - start) * 1e-9));
            device.synchronize();
        }
        weights.replace(linear, (on, to) -> into.dequantize(linear, on, to));
    }
}
