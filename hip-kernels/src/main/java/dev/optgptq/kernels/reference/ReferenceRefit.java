package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.getByte;
import static dev.optgptq.kernels.reference.Elements.getFloat;
import static dev.optgptq.kernels.reference.Elements.getInt;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps.RefitProblem;
import dev.optgptq.kernels.ops.QuantOps;

/** The definition of QuantOps.groupSums and refitScales, in float32 and in the order that they say. */
final class ReferenceRefit {

    private ReferenceRefit() {}

    static void groupSums(int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums) {
        for (long g = 0; g < sums.rows(); g++) {
            long end = Math.min(codes.rows(), (g + 1) * groupSize);
            for (long o = 0; o < codes.columns(); o++) {
                float sum = 0;
                for (long i = g * groupSize; i < end; i++) {
                    sum += (getByte(codes, i, o) - getInt(zeros, g, o)) * getFloat(values, i, o);
                }
                set(sums, g, o, sum);
            }
        }
    }

    static void scales(RefitProblem p) {
        int groups = Math.toIntExact(p.scales().rows());
        for (long o = 0; o < p.scales().columns(); o++) {
            float[][] n = new float[groups][groups];
            float[] r = new float[groups];
            for (int j = 0; j < groups; j++) {
                r[j] = getFloat(p.slope(), j, o);
                for (int k = j; k < groups; k++) {
                    n[j][k] = getFloat(p.normal(), (long) k * groups + j, o);
                }
                n[j][j] = Math.fma(QuantOps.RIDGE, n[j][j], n[j][j]);
            }
            eliminate(n, r);
            float[] scales = new float[groups];
            for (int j = 0; j < groups; j++) {
                scales[j] = getFloat(p.scales(), j, o);
            }
            float[] fitted = fit(p.grid(), n, r, scales);
            for (int j = 0; j < groups; j++) {
                set(p.scales(), j, o, fitted[j]);
            }
        }
    }

    private static void eliminate(float[][] n, float[] r) {
        for (int j = 0; j < r.length; j++) {
            for (int i = j + 1; n[j][j] > 0 && i < r.length; i++) {
                float f = n[j][i] / n[j][j];
                for (int k = i; k < r.length; k++) {
                    n[i][k] = Math.fma(-f, n[j][k], n[i][k]);
                }
                r[i] = Math.fma(-f, r[j], r[i]);
            }
        }
    }

    /** The scales as they were where the objective does not fall. */
    private static float[] fit(Grid grid, float[][] n, float[] r, float[] scales) {
        float[] fitted = scales.clone();
        float left = 0;
        float gained = 0;
        for (int j = r.length - 1; j >= 0; j--) {
            if (n[j][j] > 0) {
                float c = r[j];
                for (int k = j + 1; k < r.length; k++) {
                    c = Math.fma(n[j][k], fitted[k] - scales[k], c);
                }
                c = -c / n[j][j];
                float s = grid.stored(scales[j] + c);
                fitted[j] = grid.isScale(s) ? s : scales[j];
                float rest = fitted[j] - scales[j] - c;
                left = Math.fma(n[j][j], rest * rest, left);
                gained += r[j] * r[j] / n[j][j];
            }
        }
        return left < gained ? fitted : scales;
    }
}
