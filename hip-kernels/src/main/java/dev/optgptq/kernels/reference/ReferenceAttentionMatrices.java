package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.CurvatureWeights;
import org.jspecify.annotations.Nullable;

/** NeuralOps.causalSoftmax and GradientOps.attentionCurvature, row by row. */
final class ReferenceAttentionMatrices {

    private ReferenceAttentionMatrices() {}

    private static long firstSeen(long i, int window) {
        return window == 0 ? 0 : Math.max(0, i - window + 1);
    }

    static void causalSoftmax(Tensor scores, float scale, @Nullable Tensor slopes, int window) {
        long length = scores.columns();
        double[] score = new double[Math.toIntExact(length)];
        for (long row = 0; row < scores.rows(); row++) {
            long i = row % length;
            double slope = slopes == null ? 0 : get(slopes, 0, row / length);
            double most = Double.NEGATIVE_INFINITY;
            for (long j = firstSeen(i, window); j <= i; j++) {
                score[(int) j] = scale * get(scores, row, j) + slope * (j - i);
                most = Math.max(most, score[(int) j]);
            }
            double sum = 0;
            for (long j = firstSeen(i, window); j <= i; j++) {
                sum += Math.exp(score[(int) j] - most);
            }
            for (long j = 0; j < length; j++) {
                boolean seen = j >= firstSeen(i, window) && j <= i;
                set(scores, row, j, seen ? Math.exp(score[(int) j] - most) / sum : 0);
            }
        }
    }

    static void curvature(Tensor first, Tensor second, CurvatureWeights weights, int window, Tensor errors) {
        long length = errors.columns();
        for (long row = 0; row < errors.rows(); row++) {
            long i = row % length;
            double uniform = 1.0 / (i - firstSeen(i, window) + 1);
            double[] means = new double[3];
            for (long j = firstSeen(i, window); j <= i; j++) {
                means[0] += get(first, row, j) * get(errors, row, j);
                means[1] += get(second, row, j) * get(errors, row, j);
                means[2] += uniform * get(errors, row, j);
            }
            for (long j = 0; j < length; j++) {
                double e = get(errors, row, j);
                boolean seen = j >= firstSeen(i, window) && j <= i;
                set(errors, row, j, seen
                        ? weights.first() * get(first, row, j) * (e - means[0])
                                + weights.second() * get(second, row, j) * (e - means[1])
                                + weights.uniform() * uniform * (e - means[2])
                        : 0);
            }
        }
    }
}
