package dev.optgptq.gptq.refine;

import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.capture.Activity;
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
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Solves a block in several variants; consecutive variants with the same Hessian share its factorisation. The devices of a process
 * solve different sites at the same time, and so do several ranks, which give each other what they find.
 */
final class VariantSolver implements AutoCloseable {

    private final Replicas models;
    private final Transformer model;
    private final Device device;
    private final int block;
    private final SolveSettings settings;
    private final ModuleGrids grids;
    private final BlockMoments moments;
    private final boolean keepRounded;
    private final Phases phases;
    private final SolvedExchange exchange;
    private final ExpertsSolver experts;
    /** By device. */
    private final List<SiteFactors> factors;
    private boolean factorsAreWeighted;

    /** @param keepRounded whether candidates keep the weights before rounding, the start of learned rounding */
    VariantSolver(Replicas models, int block, SolveSettings settings, ModuleGrids grids, BlockMoments moments,
            boolean keepRounded, Phases phases) {
        this.models = models;
        this.model = models.first();
        this.device = model.device();
        this.exchange = new SolvedExchange(models.crew().ranks(), device, grids);
        this.experts = new ExpertsSolver(device, settings, grids, moments, phases);
        this.block = block;
        this.settings = settings;
        this.grids = grids;
        this.moments = moments;
        this.keepRounded = keepRounded;
        this.phases = phases;
        this.factors = models.devices().stream().map(each -> new SiteFactors(device, each)).toList();
    }

    Candidate solve(Variant variant) {
        phases.enter(variant.equals(Variants.PLAIN) ? "solve" : "solve variants");
        if (factorsAreWeighted != variant.weighted()) {
            factors.forEach(SiteFactors::closeSolvers);
            factorsAreWeighted = variant.weighted();
        }
        TensorArena arena = device.arena();
        ParkedLinears parked = null;
        try {
            // Learned rounding starts from all weights, and ranks exchange them; else experts compute from their codes.
            BlockWeights weights = keepRounded || exchange.ranks().areSeveral()
                    ? model.loadBlock(block, arena)
                    : model.streamBlock(block, arena);
            List<LinearSpec> mine = grids.quantized(weights.linears()).stream()
                    .filter(linear -> moments.owners().of(linear.site()) == exchange.ranks().rank()).toList();
            List<LinearSpec> later = mine.stream().filter(linear -> moments.isParked(linear.site())).toList();
            List<LinearSpec> now = mine.stream().filter(linear -> !moments.isParked(linear.site())).toList();
            List<SolvedLinear> linears = all(weights, solve(variant, now, weights, arena), arena);
            if (!later.isEmpty()) {
                parked = new ParkedLinears(device, weights.spec(), grids, moments.parkedLimit());
                experts.solve(variant, later, weights, parked);
            }
            return new Candidate(weights, linears, parked, arena);
        } catch (RuntimeException e) {
            arena.close();
            if (parked != null) {
                parked.close();
            }
            throw e;
        }
    }

    /** Those of this rank, each site by one of its devices; streamed experts by the first. */
    private Map<LinearSpec, SolvedLinear> solve(Variant variant, List<LinearSpec> mine, BlockWeights weights,
            TensorArena arena) {
        SiteOwners owners = new SiteOwners(weights.spec(), mine.stream().map(LinearSpec::site).distinct().toList(),
                mine.stream().anyMatch(weights::streams) ? 1 : models.size());
        List<TensorArena> copies = models.devices().stream().map(Device::arena).toList();
        try {
            List<List<Task>> tasks = new ArrayList<>();
            models.devices().forEach(each -> tasks.add(new ArrayList<>()));
            for (LinearSpec linear : mine) {
                int owner = owners.of(linear.site());
                tasks.get(owner).add(task(variant, linear, weights, owner, copies.get(owner)));
            }
            Map<LinearSpec, SolvedLinear> solved = new ConcurrentHashMap<>();
            models.together(index -> {
                for (Task task : tasks.get(index)) {
                    solved.put(task.linear(), solve(task, index, weights, index == 0 ? arena : copies.get(index)));
                    if (index == 0) {
                        phases.solved(task.linear(), variant.polish());
                    }
                }
                models.devices().get(index).synchronize();
            });
            for (int index = 1; index < models.size(); index++) {
                for (Task task : tasks.get(index)) {
                    phases.solved(task.linear(), variant.polish());
                    SolvedLinear here = Objects.requireNonNull(solved.get(task.linear()))
                            .on(models.devices().get(index), device, arena);
                    here.solution().weight().dequantize(device, device, weights.weight(task.linear()));
                    solved.put(task.linear(), here);
                }
            }
            return solved;
        } finally {
            copies.forEach(TensorArena::close);
        }
    }

    /**
     * A linear to be solved, with what it needs on the device that solves it.
     *
     * @param weight a copy on another device than the first; null for that
     */
    private record Task(LinearSpec linear, @Nullable Tensor weight, GptqVariant variant, Activity activity) {}

    private Task task(Variant variant, LinearSpec linear, BlockWeights weights, int owner, TensorArena copies) {
        InputSite site = linear.site();
        SiteFactors there = factors.get(owner);
        there.bring(site, variant.weighted(), moments.hessian(site, variant.weighted()));
        float strength = site.ofExpert() ? 0 : site.ofMlp() ? variant.mlp() : variant.attention();
        Propagation propagation = strength > 0
                ? new Propagation(there.copy(moments.cross(site), copies), strength)
                : null;
        return new Task(linear, owner == 0 ? null : there.copy(weights.weight(linear), copies),
                new GptqVariant(variant.searched(), propagation, variant.polish(), keepRounded),
                moments.activity(site));
    }

    private SolvedLinear solve(Task task, int index, BlockWeights weights, TensorArena arena) {
        long start = System.nanoTime();
        LinearSpec linear = task.linear();
        SiteSolver solver = factors.get(index).solver(linear.site(), factorsAreWeighted,
                new Calibrator.Gradient(grids.settings(settings, linear)),
                "block " + block + ", " + linear.site().label());
        Tensor weight = task.weight() == null ? weights.weight(linear) : task.weight();
        LinearSolution solution = solver.solve(arena, weight, task.variant());
        if (weights.streams(linear)) {
            weights.replace(linear, (on, to) -> solution.weight().dequantize(device, on, to));
        }
        return new SolvedLinear(linear, solution, task.activity(), (System.nanoTime() - start) * 1e-9);
    }

    /** Those of all ranks, in forward order. */
    private List<SolvedLinear> all(BlockWeights weights, Map<LinearSpec, SolvedLinear> mine, TensorArena arena) {
        List<SolvedLinear> linears = new ArrayList<>();
        for (LinearSpec linear : grids.quantized(weights.linears())) {
            if (moments.isParked(linear.site())) {
                continue;
            }
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

    @Override
    public void close() {
        factors.forEach(SiteFactors::close);
    }
}
