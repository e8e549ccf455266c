package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.Activity;
import dev.optgptq.calibrate.capture.SiteHessians;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.gptq.refine.SiteOwners;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.run.progress.RunProgress;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Solves sites of a block on all devices of this process at the same time, each site on one: the most expensive first, on the device
 * that has least to do. Devices are alike, so that it does not matter for the bits which of them solves. Hessians come from the
 * first device. What is solved stays where it is, to be packed there, and the others compute the weight from its codes.
 */
final class SpreadSites implements AutoCloseable {

    private final Replicas models;
    private final SiteSolving solving;
    private final SiteOwners owners;
    /** Of each device: the copies of its Hessians, and what it solved. */
    private final List<TensorArena> arenas;
    /** In the order in which they were added. */
    private final Map<InputSite, Hessian> hessians = new LinkedHashMap<>();
    private final Map<LinearSpec, SolvedLinear> solved = new ConcurrentHashMap<>();

    /**
     * A site's.
     *
     * @param matrix F32 [n, n] on the device that solves the site; null when the calibrator needs none
     */
    private record Hessian(@Nullable Tensor matrix, @Nullable Activity activity) {}

    SpreadSites(Replicas models, BlockWeights weights, List<InputSite> sites, SiteSolving solving) {
        this.models = models;
        this.solving = solving;
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
            Device first = models.devices().getFirst();
            first.synchronize();
            matrix = models.devices().get(owner).received(first, matrix, arenas.get(owner));
            of.release(site);
        }
        hessians.put(site, new Hessian(matrix, activity));
    }

    /** Solves the linears of all sites that were added; their weights are overwritten on the device that solves them. */
    void solve(Replicas.Block weights, RunProgress progress) {
        progress.enter("solve");
        models.together(device -> hessians.forEach((site, hessian) -> {
            if (owners.of(site) == device) {
                solve(device, weights.on(device), site, hessian);
                if (device == 0) {
                    // This is the calling thread, which may tell of it.
                    count(weights.first().linears(site), progress);
                }
            }
        }));
        hessians.keySet().stream().filter(site -> owners.of(site) > 0)
                .forEach(site -> count(weights.first().linears(site), progress));
    }

    private void count(List<LinearSpec> linears, RunProgress progress) {
        solving.grids().quantized(linears)
                .forEach(linear -> progress.did(solving.operations(linear, progress.flops())));
    }

    private void solve(int device, BlockWeights weights, InputSite site, Hessian hessian) {
        try (SiteSolver solver = solving.solver(models.on(device), weights, site, hessian.matrix())) {
            for (LinearSpec linear : solving.grids().quantized(weights.linears(site))) {
                solved.put(linear, solving.solve(models.on(device), weights, linear, solver, hessian.activity(),
                        arenas.get(device)));
            }
            models.devices().get(device).synchronize();
        }
    }

    /** What was solved, with its codes on {@link #owner}. */
    SolvedLinear of(LinearSpec linear) {
        return Objects.requireNonNull(solved.get(linear), linear::toString);
    }

    /** The device that has solved a linear. */
    Device owner(LinearSpec linear) {
        return models.devices().get(owners.of(linear.site()));
    }

    /** The devices that have not solved a linear compute its weight from the codes, all at the same time. */
    void give(Replicas.Block weights) {
        models.together(device -> solved.forEach((linear, found) -> {
            if (owners.of(linear.site()) != device) {
                weights.overwrite(device, linear,
                        (here, weight) -> found.solution().weight().dequantize(owner(linear), here, weight));
            }
        }));
    }

    @Override
    public void close() {
        arenas.forEach(TensorArena::close);
    }
}
