package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * RMSNorm and LayerNorm of every run of width columns of a row, forward and backward; a whole row is one run. A run that has
 * its own weights takes those of its columns, else all take the same.
 */
final class ReferenceNorms {

    private final Tensor x;
    private final Tensor weight;
    private final int width;
    private final float eps;
    /** Whether the mean is taken off. */
    private final boolean centred;

    ReferenceNorms(Tensor x, Tensor weight, int width, float eps, boolean centred) {
        this.x = x;
        this.weight = weight;
        this.width = width;
        this.eps = eps;
        this.centred = centred;
    }

    /** out = (x - centre) / scale * weight + bias. */
    void run(@Nullable Tensor bias, Tensor out) {
        forRuns((row, from) -> {
            double centre = centre(row, from);
            double scale = scale(row, from, centre);
            for (int c = 0; c < width; c++) {
                double shift = bias == null ? 0 : get(bias, 0, own(from) + c);
                double normal = (get(x, row, from + c) - centre) / scale;
                set(out, row, from + c, normal * get(weight, 0, own(from) + c) + shift);
            }
        });
    }

    /** n = (x - centre) / scale, g = dOut weight; dx += (g - [mean(g)] - n mean(g n)) / scale, dWeight += dOut n. */
    void gradient(Tensor dOut, Tensor dx, @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        double[] weightSums = new double[Math.toIntExact(weight.columns())];
        double[] biasSums = new double[weightSums.length];
        forRuns((row, from) -> {
            double centre = centre(row, from);
            double scale = scale(row, from, centre);
            double meanG = 0;
            double meanGn = 0;
            for (int c = 0; c < width; c++) {
                double d = get(dOut, row, from + c);
                double n = (get(x, row, from + c) - centre) / scale;
                double g = d * get(weight, 0, own(from) + c);
                meanG += centred ? g / width : 0;
                meanGn += g * n / width;
                weightSums[own(from) + c] += d * n;
                biasSums[own(from) + c] += d;
            }
            for (int c = 0; c < width; c++) {
                double n = (get(x, row, from + c) - centre) / scale;
                double g = get(dOut, row, from + c) * get(weight, 0, own(from) + c);
                set(dx, row, from + c, get(dx, row, from + c) + (g - meanG - n * meanGn) / scale);
            }
        });
        add(weightSums, dWeight);
        add(biasSums, dBias);
    }

    @FunctionalInterface
    private interface RunBody {
        void accept(long row, int from);
    }

    private void forRuns(RunBody body) {
        for (long row = 0; row < x.rows(); row++) {
            for (int from = 0; from < x.columns(); from += width) {
                body.accept(row, from);
            }
        }
    }

    /** The column of the weights at which those of a run begin. */
    private int own(int from) {
        return weight.columns() == width ? 0 : from;
    }

    private double centre(long row, int from) {
        double sum = 0;
        for (int c = 0; centred && c < width; c++) {
            sum += get(x, row, from + c);
        }
        return sum / width;
    }

    private double scale(long row, int from, double centre) {
        double sum = 0;
        for (int c = 0; c < width; c++) {
            double difference = get(x, row, from + c) - centre;
            sum += difference * difference;
        }
        return Math.sqrt(sum / width + eps);
    }

    private static void add(double[] sums, @Nullable Tensor target) {
        for (int c = 0; target != null && c < sums.length; c++) {
            set(target, 0, c, get(target, 0, c) + sums[c]);
        }
    }
}
