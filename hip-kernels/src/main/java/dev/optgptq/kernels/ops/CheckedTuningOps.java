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
        check("latent", grid, latent);
        same("latent", "wt", wt, latent);
        Arguments.shaped("latent", "codes", codes, DType.U8, latent.rows(), latent.columns());
        ops.latent(grid, wt, codes, latent);
    }

    @Override
    public void roundLatent(LatentGrid grid, Tensor latent, Tensor wt) {
        check("roundLatent", grid, latent);
        same("roundLatent", "wt", wt, latent);
        ops.roundLatent(grid, latent, wt);
    }

    @Override
    public void latentCodes(LatentGrid grid, Tensor latent, Tensor codes) {
        check("latentCodes", grid, latent);
        Arguments.shaped("latentCodes", "codes", codes, DType.U8, latent.rows(), latent.columns());
        ops.latentCodes(grid, latent, codes);
    }

    @Override
    public void latentGradient(LatentGrid grid, Tensor latent, Tensor d, Tensor dScales) {
        check("latentGradient", grid, latent);
        same("latentGradient", "d", d, latent);
        same("latentGradient", "dScales", dScales, grid.scales());
        ops.latentGradient(grid, latent, d, dScales);
    }

    @Override
    public void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit,
            Tensor parameter) {
        Arguments.f32("adam", "parameter", parameter, parameter.rows(), parameter.columns());
        same("adam", "gradient", gradient, parameter);
        same("adam", "first", first, parameter);
        same("adam", "second", second, parameter);
        if (unit != null) {
            same("adam", "unit", unit, parameter);
        }
        ops.adam(step, gradient, first, second, unit, parameter);
    }

    private static void check(String op, LatentGrid grid, Tensor latent) {
        Arguments.f32(op, "latent", latent, latent.rows(), latent.columns());
        Arguments.f32(op, "scales", grid.scales(), grid.scales().rows(), latent.columns());
        Arguments.shaped(op, "zeros", grid.zeros(), DType.I32, grid.scales().rows(), latent.columns());
        Arguments.shaped(op, "groupOf", grid.groupOf(), DType.I32, 1, latent.rows());
    }

    private static void same(String op, String name, Tensor tensor, Tensor like) {
        Arguments.f32(op, name, tensor, like.rows(), like.columns());
    }
}
