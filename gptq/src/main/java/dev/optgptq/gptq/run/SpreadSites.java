package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.capture.SiteHessians;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.refine.SiteOwners;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Solves sites of a block on all devices of this process at the same time, each site on one: the most expensive first, on the device
 * that has least to do. Devices are alike, so that it does not matter for the bits which of them solves. Hessians come from the
 * first device, and what is solved returns there as codes, from which it computes the weight.
 */
final class SpreadSites implements AutoCloseable {

    private final Replicas models;
    private final SiteOwners owners;
    /** Of each device: the copies of its Hessians, and what it solved. */
    private final List<TensorArena> arenas;
    private final Map<InputSite, Hessian> hessians = new HashMap<>();
    private final Map<LinearSpec, SolvedLinear> solved = new HashMap<>();

    /**
     * A site's.
     *
     * @param matrix F32 [n, n] on the device that solves the site; null when the calibrator needs none
     */
    private record Hessian(@Nullable Tensor matrix, @Nullable Activity activity) {}

    SpreadSites(Replicas models, BlockWeights weights, List<InputSite> sites) {
        this.models = models;
        this.owners = new SiteOwners(weights.spec(), sites, models.size());
        this.arenas = models.devices().stream().map(Device::arena).toList();
    }

    /**
     * Gives a site's Hessian to the device that solves it.
     *
     * @param of the Hessians on the first device, from which this one is released when it is copied; null without calibration
     */
    void add(InputSite site, @Nullable SiteHessians of, @Nullable Activity activity) {
        if (of == null) {
            hessians.put(site, new Hessian(null, null));
            return;
        }
        Tensor matrix = of.hessian(site);
        int owner = owners.of(site);
        if (owner > 0) {
            Tensor copy = arenas.get(owner).matrix(DType.F32, matrix.rows(), matrix.columns());
            models.devices().getFirst().synchronize();
            models.devices().get(owner).receive(models.devices().getFirst(), matrix, copy);
            of.release(site);
            matrix = copy;
        }
        hessians.put(site, new Hessian(matrix, activity));
    }

    /** Solves the linears of all sites that were added; their weights are overwritten on the device that solves them. */
    void solve(Replicas.Block weights, Calibrator calibrator, ModuleGrids grids, RunProgress progress) {
        progress.enter("solve");
        models.together(device -> {
            Map<LinearSpec, SolvedLinear> mine = new HashMap<>();
            for (InputSite site : weights.first().spec().sites()) {
                Hessian hessian = hessians.get(site);
                if (hessian != null && owners.of(site) == device) {
                    solve(device, weights.on(device), site, hessian, calibrator, grids, mine);
                    if (device == 0) {
                        count(grids.quantized(weights.first().linears(site)), calibrator, progress);
                    }
                }
            }
            models.devices().get(device).synchronize();
            synchronized (solved) {
                solved.putAll(mine);
            }
        });
        count(solved.keySet().stream().filter(linear -> owners.of(linear.site()) > 0).toList(), calibrator, progress);
    }

    /** On the calling thread, which drives the first device. */
    private static void count(List<LinearSpec> linears, Calibrator calibrator, RunProgress progress) {
        for (LinearSpec linear : linears) {
            progress.did(progress.flops().solve(linear, calibrator.needsHessian())
                    + progress.flops().polish(linear, calibrator.polish()));
        }
    }

    private void solve(int device, BlockWeights weights, InputSite site, Hessian hessian, Calibrator calibrator,
            ModuleGrids grids, Map<LinearSpec, SolvedLinear> mine) {
        List<LinearSpec> linears = grids.quantized(weights.linears(site));
        try (SiteSolver solver = new SiteSolver(models.devices().get(device),
                calibrator.with(grids.settings(calibrator.settings(), linears.getFirst())), hessian.matrix(),
                "block " + weights.index() + ", " + site.label())) {
            for (LinearSpec linear : linears) {
                long start = System.nanoTime();
                LinearSolution solution = models.on(device).rewrite(weights, linear,
                        weight -> solver.solve(arenas.get(device), weight));
                mine.put(linear, new SolvedLinear(linear, solution, hessian.activity(),
                        (System.nanoTime() - start) / 1e9));
            }
        }
    }

    /**
     * What was solved, on the first device, which computes the weight if another one solved it.
     *
     * @param weights on the first device
     * @param arena owns the codes if another device has solved it
     */
    SolvedLinear onFirst(LinearSpec linear, BlockWeights weights, TensorArena arena) {
        SolvedLinear found = Objects.requireNonNull(solved.get(linear), linear::toString);
        int owner = owners.of(linear.site());
        if (owner == 0) {
            return found;
        }
        Device first = models.devices().getFirst();
        SolvedLinear here = found.on(models.devices().get(owner), first, arena);
        models.first().rewrite(weights, linear, weight -> {
            here.solution().weight().dequantize(first, first, weight);
            return weight;
        });
        return here;
    }

    @Override
    public void close() {
        arenas.forEach(TensorArena::close);
    }
}
