package dev.optgptq.gptq.refine;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Replicas;
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
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Solves a block in several variants; consecutive variants with the same Hessian share its factorisation. Several ranks solve the
 * sites that are theirs, and give each other what they find.
 */
final class VariantSolver implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final int block;
    private final SolveSettings settings;
    private final ModuleGrids grids;
    private final BlockMoments moments;
    private final boolean keepRounded;
    private final Phases phases;
    private final SolvedExchange exchange;
    private final Map<InputSite, SiteSolver> solvers = new HashMap<>();
    private boolean solversAreWeighted;

    /** @param keepRounded whether candidates keep the weights before rounding, the start of learned rounding */
    VariantSolver(Replicas models, int block, SolveSettings settings, ModuleGrids grids, BlockMoments moments,
            boolean keepRounded, Phases phases) {
        this.model = models.first();
        this.device = model.device();
        this.exchange = new SolvedExchange(models.crew().ranks(), device, grids);
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
            // Learned rounding starts from all weights, and ranks exchange them; else experts compute from their codes.
            BlockWeights weights = keepRounded || exchange.ranks().areSeveral()
                    ? model.loadBlock(block, arena)
                    : model.streamBlock(block, arena);
            Map<LinearSpec, SolvedLinear> mine = new HashMap<>();
            for (LinearSpec linear : grids.quantized(weights.linears())) {
                if (moments.owners().of(linear.site()) == exchange.ranks().rank()) {
                    SolvedLinear solved = solve(variant, linear, weights.weight(linear), arena);
                    mine.put(linear, solved);
                    if (weights.streams(linear)) {
                        weights.replace(linear,
                                (on, to) -> solved.solution().weight().dequantize(device, on, to));
                    }
                }
            }
            return new Candidate(weights, all(weights, mine, arena), arena);
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private SolvedLinear solve(Variant variant, LinearSpec linear, Tensor weight, TensorArena arena) {
        long start = System.nanoTime();
        LinearSolution solution = solver(linear).solve(arena, weight, new GptqVariant(variant.searched(),
                propagation(variant, linear.site()), variant.polish(), keepRounded));
        phases.solved(linear, variant.polish());
        return new SolvedLinear(linear, solution, moments.activity(linear.site()), (System.nanoTime() - start) * 1e-9);
    }

    /** Those of all ranks, in forward order. */
    private List<SolvedLinear> all(BlockWeights weights, Map<LinearSpec, SolvedLinear> mine, TensorArena arena) {
        List<SolvedLinear> linears = new ArrayList<>();
        for (LinearSpec linear : grids.quantized(weights.linears())) {
            SolvedLinear own = mine.get(linear);
            if (own != null && !exchange.ranks().areSeveral()) {
                linears.add(own);
                continue;
            }
            SolvedLinear solved = exchange.share(moments.owners().of(linear.site()), linear, own, arena);
            if (own == null) {
                solved.solution().weight().dequantize(device, device, weights.weight(linear));
            }
            linears.add(solved);
        }
        return linears;
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
