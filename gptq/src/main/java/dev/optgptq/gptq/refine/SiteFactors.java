package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;

/**
 * The factorised Hessians that one device keeps from variant to variant. A device other than the first has copies of the Hessians, for as
 * long: solving changes them.
 */
final class SiteFactors implements AutoCloseable {

    private final Device first;
    private final Device device;
    private final TensorArena arena;
    private final Map<Key, Tensor> hessians = new HashMap<>();
    private final Map<InputSite, SiteSolver> solvers = new HashMap<>();

    /** Which of a site's Hessians. */
    private record Key(InputSite site, boolean weighted) {}

    /**
     * @param first the device that has the moments
     * @param device the one that solves
     */
    SiteFactors(Device first, Device device) {
        this.first = first;
        this.device = device;
        this.arena = device.arena();
    }

    /** Brings a Hessian here, unless it is. Called by the thread of the first device. */
    void bring(InputSite site, boolean weighted, Tensor hessian) {
        if (!hessians.containsKey(new Key(site, weighted))) {
            hessians.put(new Key(site, weighted), copy(hessian, arena));
        }
    }

    /** A tensor of the first device on this one. Called by the thread of the first device. */
    Tensor copy(Tensor tensor, TensorArena owner) {
        first.synchronize();
        return device.received(first, tensor, owner);
    }

    /** The solver of a site whose Hessian was brought; its linears have one grid. */
    SiteSolver solver(InputSite site, boolean weighted, Calibrator calibrator, String what) {
        SiteSolver solver = solvers.get(site);
        if (solver == null) {
            solver = new SiteSolver(device, calibrator, Objects.requireNonNull(hessians.get(new Key(site, weighted))),
                    what);
            solvers.put(site, solver);
        }
        return solver;
    }

    /** Before solvers of the other Hessians are asked for; these are left as they were. */
    void closeSolvers() {
        solvers.values().forEach(SiteSolver::restoreHessian);
        close(solvers);
    }

    private static void close(Map<InputSite, SiteSolver> solvers) {
        solvers.values().forEach(SiteSolver::close);
        solvers.clear();
    }

    @Override
    public void close() {
        close(solvers);
        arena.close();
    }
}
