package dev.optgptq.gptq.refine;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.refine.Variants.Variant;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.GptqVariant.Propagation;
import dev.optgptq.gptq.solve.GptqVariant;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Solves a block in several variants; consecutive variants with the same Hessian share its factorisation. */
final class VariantSolver implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final int block;
    private final SolveSettings settings;
    private final ModuleGrids grids;
    private final BlockMoments moments;
    private final boolean keepRounded;
    private final Phases phases;
    private final Map<InputSite, SiteSolver> solvers = new HashMap<>();
    private boolean solversAreWeighted;

    /** @param keepRounded whether candidates keep the weights before rounding, the start of learned rounding */
    VariantSolver(Transformer model, int block, SolveSettings settings, ModuleGrids grids, BlockMoments moments,
            boolean keepRounded, Phases phases) {
        this.model = model;
        this.device = model.device();
        this.block = block;
        this.settings = settings;
        this.grids = grids;
        this.moments = moments;
        this.keepRounded = keepRounded;
        this.phases = phases;
    }

    Candidate solve(Variant variant) {
        phases.enter(variant.equals(Variants.PLAIN) ? "solve" : "solve variants");
        if (solversAreWeighted != variant.weighted()) {
            closeSolvers();
            solversAreWeighted = variant.weighted();
        }
        TensorArena arena = device.arena();
        try {
            BlockWeights weights = model.loadBlock(block, arena);
            List<SolvedLinear> linears = new ArrayList<>();
            for (LinearSpec linear : grids.quantized(weights.linears())) {
                long start = System.nanoTime();
                LinearSolution solution = solver(linear).solve(arena, weights.weight(linear),
                        new GptqVariant(variant.searched(), propagation(variant, linear.site()), variant.polish(),
                                keepRounded));
                phases.solved(linear, variant.polish());
                linears.add(new SolvedLinear(linear, solution, moments.activity(linear.site()),
                        (System.nanoTime() - start) * 1e-9));
            }
            return new Candidate(weights, linears, arena);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private @Nullable Propagation propagation(Variant variant, InputSite site) {
        float strength = site.ofExpert() ? 0 : site.ofMlp() ? variant.mlp() : variant.attention();
        return strength > 0 ? new Propagation(moments.cross(site), strength) : null;
    }

    /** That of its site, whose quantized linears have one grid. */
    private SiteSolver solver(LinearSpec linear) {
        InputSite site = linear.site();
        SiteSolver solver = solvers.get(site);
        if (solver == null) {
            solver = new SiteSolver(device, new Calibrator.Gradient(grids.settings(settings, linear)),
                    moments.hessian(site, solversAreWeighted), "block " + block + ", " + site.label());
            solvers.put(site, solver);
        }
        return solver;
    }

    private void closeSolvers() {
        solvers.values().forEach(SiteSolver::close);
        solvers.clear();
    }

    @Override
    public void close() {
        closeSolvers();
    }
}
