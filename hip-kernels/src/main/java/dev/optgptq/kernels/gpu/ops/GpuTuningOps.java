package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.TuningOps;
import org.jspecify.annotations.Nullable;

/** TuningOps on a GPU: tuning.hip. Groups are read on the device unchecked: nothing can be thrown there. */
public final class GpuTuningOps implements TuningOps {

    private static final int THREADS = Extent.THREADS;

    private final GpuContext context;

    public GpuTuningOps(GpuContext context) {
        this.context = context;
    }

    private Kernel kernel(String function) {
        return context.kernel("tuning", function);
    }

    @Override
    public void latent(LatentGrid grid, Tensor wt, Tensor codes, Tensor latent) {
        Extent extent = Extent.byRows(latent);
        kernel("latent_of").launch(extent.blocks(), THREADS, 0, wt, wt.stride(), codes, codes.stride(), grid.scales(),
                grid.scales().stride(), grid.zeros(), grid.zeros().stride(), grid.groupOf(), INSIDE, latent,
                latent.stride(), extent.columns());
    }

    @Override
    public void roundLatent(LatentGrid grid, Tensor latent, Tensor wt) {
        Extent extent = Extent.byRows(latent);
        kernel("round_latent").launch(extent.blocks(), THREADS, 0, latent, latent.stride(), grid.scales(),
                grid.scales().stride(), grid.zeros(), grid.zeros().stride(), grid.groupOf(), grid.maxCode(), wt,
                wt.stride(), extent.columns());
    }

    @Override
    public void latentCodes(LatentGrid grid, Tensor latent, Tensor codes) {
        Extent extent = Extent.byRows(latent);
        kernel("latent_codes").launch(extent.blocks(), THREADS, 0, latent, latent.stride(), grid.zeros(),
                grid.zeros().stride(), grid.groupOf(), grid.maxCode(), codes, codes.stride(), extent.columns());
    }

    @Override
    public void latentGradient(LatentGrid grid, Tensor latent, Tensor d, Tensor dScales) {
        long groups = dScales.rows();
        // Groups run along y, in as many launches as that takes.
        for (long from = 0; from < groups; from += Kernel.MAX_GRID_YZ) {
            long count = Math.min(Kernel.MAX_GRID_YZ, groups - from);
            kernel("latent_gradient").launchGrid(Math.ceilDiv(latent.columns(), THREADS), count, 1, THREADS, 0, latent,
                    latent.stride(), grid.scales(), grid.scales().stride(), grid.zeros(), grid.zeros().stride(),
                    grid.groupOf(), grid.maxCode(), (int) from, d, d.stride(), dScales, dScales.stride(),
                    Math.toIntExact(latent.rows()), latent.columns());
        }
    }

    @Override
    public void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit,
            Tensor parameter) {
        Extent extent = Extent.byRows(parameter);
        kernel("adam").launch(extent.blocks(), THREADS, 0, step.rate(), step.beta1(), step.beta2(), step.epsilon(),
                step.firstCorrection(), step.secondCorrection(), gradient, gradient.stride(), first, first.stride(),
                second, second.stride(), unit, unit == null ? 0L : unit.stride(), parameter, parameter.stride(),
                extent.columns());
    }
}
