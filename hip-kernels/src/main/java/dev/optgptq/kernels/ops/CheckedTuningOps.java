package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedTuningOps implements TuningOps {

    private final TuningOps ops;

    public CheckedTuningOps(TuningOps ops) {
        this.ops = ops;
    }

    @Override
    public void latent(LatentGrid grid, Tensor wt, Tensor codes, Tensor latent) {
        check(grid, latent);
        same("wt", wt, latent);
        Arguments.shaped("codes", codes, DType.U8, latent.rows(), latent.columns());
        ops.latent(grid, wt, codes, latent);
    }

    @Override
    public void roundLatent(LatentGrid grid, Tensor latent, Tensor wt) {
        check(grid, latent);
        same("wt", wt, latent);
        ops.roundLatent(grid, latent, wt);
    }

    @Override
    public void latentCodes(LatentGrid grid, Tensor latent, Tensor codes) {
        check(grid, latent);
        Arguments.shaped("codes", codes, DType.U8, latent.rows(), latent.columns());
        ops.latentCodes(grid, latent, codes);
    }

    @Override
    public void latentGradient(LatentGrid grid, Tensor latent, Tensor d, Tensor dScales) {
        check(grid, latent);
        same("d", d, latent);
        same("dScales", dScales, grid.scales());
        ops.latentGradient(grid, latent, d, dScales);
    }

    @Override
    public void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit,
            Tensor parameter) {
        Arguments.f32("parameter", parameter, parameter.rows(), parameter.columns());
        same("gradient", gradient, parameter);
        same("first", first, parameter);
        same("second", second, parameter);
        if (unit != null) {
            same("unit", unit, parameter);
        }
        ops.adam(step, gradient, first, second, unit, parameter);
    }

    private static void check(LatentGrid grid, Tensor latent) {
        Arguments.f32("latent", latent, latent.rows(), latent.columns());
        Arguments.f32("scales", grid.scales(), grid.scales().rows(), latent.columns());
        Arguments.shaped("zeros", grid.zeros(), DType.I32, grid.scales().rows(), latent.columns());
        Arguments.shaped("groupOf", grid.groupOf(), DType.I32, 1, latent.rows());
    }

    private static void same(String name, Tensor tensor, Tensor like) {
        Arguments.f32(name, tensor, like.rows(), like.columns());
    }
}
