package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.getByte;
import static dev.optgptq.kernels.reference.Elements.getFloat;
import static dev.optgptq.kernels.reference.Elements.getInt;
import static dev.optgptq.kernels.reference.Elements.set;
import static dev.optgptq.kernels.reference.Elements.setByte;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.TuningOps;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** TuningOps as the definition: codes and weights in float32, one rounding per operation; the rest in float64. */
final class ReferenceTuningOps implements TuningOps {

    @Override
    public void latent(LatentGrid grid, Tensor wt, Tensor codes, Tensor latent) {
        for (long i = 0; i < latent.rows(); i++) {
            long group = group(grid, i);
            for (long o = 0; o < latent.columns(); o++) {
                float code = getByte(codes, i, o) - getInt(grid.zeros(), group, o);
                float steps = getFloat(wt, i, o) / getFloat(grid.scales(), group, o);
                set(latent, i, o, Math.min(Math.max(steps, code - INSIDE), code + INSIDE));
            }
        }
    }

    @Override
    public void roundLatent(LatentGrid grid, Tensor latent, Tensor wt) {
        for (long i = 0; i < latent.rows(); i++) {
            long group = group(grid, i);
            for (long o = 0; o < latent.columns(); o++) {
                set(wt, i, o, getFloat(grid.scales(), group, o) * steps(grid, latent, i, o, group));
            }
        }
    }

    @Override
    public void latentCodes(LatentGrid grid, Tensor latent, Tensor codes) {
        for (long i = 0; i < latent.rows(); i++) {
            long group = group(grid, i);
            for (long o = 0; o < latent.columns(); o++) {
                setByte(codes, i, o, (int) steps(grid, latent, i, o, group) + getInt(grid.zeros(), group, o));
            }
        }
    }

    @Override
    public void latentGradient(LatentGrid grid, Tensor latent, Tensor d, Tensor dScales) {
        for (long group = 0; group < dScales.rows(); group++) {
            for (long o = 0; o < latent.columns(); o++) {
                double sum = get(dScales, group, o);
                for (long i = 0; i < latent.rows(); i++) {
                    if (group(grid, i) == group) {
                        float steps = steps(grid, latent, i, o, group);
                        double dw = get(d, i, o);
                        sum += dw * steps;
                        boolean inside = steps == (float) Math.rint(getFloat(latent, i, o));
                        set(d, i, o, inside ? dw * get(grid.scales(), group, o) : 0);
                    }
                }
                set(dScales, group, o, sum);
            }
        }
    }

    @Override
    public void adam(AdamStep step, Tensor gradient, Tensor first, Tensor second, @Nullable Tensor unit,
            Tensor parameter) {
        for (long row = 0; row < parameter.rows(); row++) {
            for (long c = 0; c < parameter.columns(); c++) {
                double g = get(gradient, row, c);
                double mean = step.beta1() * get(first, row, c) + (1 - step.beta1()) * g;
                double square = step.beta2() * get(second, row, c) + (1 - step.beta2()) * g * g;
                set(first, row, c, mean);
                set(second, row, c, square);
                double rate = step.rate() * (unit == null ? 1 : Math.abs(get(unit, row, c)));
                double direction = mean * step.firstCorrection()
                        / (Math.sqrt(square * step.secondCorrection()) + step.epsilon());
                set(parameter, row, c, get(parameter, row, c) - rate * direction);
            }
        }
    }

    /** code - zero of a latent. */
    private static float steps(LatentGrid grid, Tensor latent, long i, long o, long group) {
        int zero = getInt(grid.zeros(), group, o);
        return Math.min(Math.max((float) Math.rint(getFloat(latent, i, o)), -zero), grid.maxCode() - zero);
    }

    private static long group(LatentGrid grid, long input) {
        return Objects.checkIndex(getInt(grid.groupOf(), 0, input), grid.scales().rows());
    }
}
