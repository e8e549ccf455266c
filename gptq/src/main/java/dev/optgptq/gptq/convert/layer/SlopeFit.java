package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The ALiBi slope of each query head that comes nearest to its original scores: s_tu ~ a (q_t . k_u) + m u, by least squares
 * weighted by the original attention and by that of the fit, in turns.
 */
record SlopeFit(LayerAttention original) {

    /** Tokens whose scores are looked at, about. */
    private static final int TOKENS = 4096;
    private static final int ROUNDS = 4;

    /** The scores of one head over one sequence, row after row of the lower triangle, without the bias of positions. */
    private record Scores(double[] original, double[] plain, int length) {}

    /**
     * Fits one slope for each query head.
     *
     * @param ofOriginal F32 [N, hidden]: what enters the original layer, whole sequences
     * @param ofConverted the same of the converted one
     */
    double[] fit(Tensor ofOriginal, Tensor ofConverted) {
        Device device = original.device();
        long rows = rows(ofOriginal.rows(), original.shape().sequenceLength());
        try (TensorArena arena = device.arena()) {
            LayerAttention.Projected turned = project(ofOriginal.rows(0, rows), true, arena);
            LayerAttention.Projected plain = project(ofConverted.rows(0, rows), false, arena);
            return IntStream.range(0, original.shape().heads()).mapToDouble(head -> {
                List<Scores> scores = new ArrayList<>();
                int length = original.shape().sequenceLength();
                for (long row = 0; row < rows; row += length) {
                    scores.add(new Scores(scores(turned, row, head), scores(plain, row, head), length));
                }
                return slope(scores);
            }).toArray();
        }
    }

    /** Tokens of whole sequences, one at the least. */
    static long rows(long available, int length) {
        return Math.min(available, (long) Math.max(1, TOKENS / length) * length);
    }

    private LayerAttention.Projected project(Tensor x, boolean turned, TensorArena arena) {
        LayerAttention.Projected p = LayerAttention.Projected.allocate(arena, original.shape(), x.rows());
        LayerAttention as = turned ? original : original.without();
        as.queries(x, p.queries());
        as.keys(x, p.keys());
        return p;
    }

    private double[] scores(LayerAttention.Projected p, long row, int head) {
        Device device = original.device();
        int length = original.shape().sequenceLength();
        int d = original.headDim();
        int kvHead = head / (original.shape().heads() / original.shape().kvHeads());
        try (TensorArena scratch = device.arena(); Arena host = Arena.ofShared()) {
            Tensor all = scratch.matrix(DType.F32, length, length);
            device.matrix().gemm(original.shape().scale(), p.queries().rows(row, length).columns((long) head * d, d),
                    false, p.keys().rows(row, length).columns((long) kvHead * d, d), true, 0, all);
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, (long) length * length);
            device.download(all, values);
            double[] seen = new double[length * (length + 1) / 2];
            int at = 0;
            for (int query = 0; query < length; query++) {
                for (int key = 0; key <= query; key++) {
                    seen[at++] = values.getAtIndex(ValueLayout.JAVA_FLOAT, (long) query * length + key);
                }
            }
            return seen;
        }
    }

    /** The fixed point of the weights, as far as a few rounds go; the round whose attention is nearest counts. */
    private static double slope(List<Scores> sequences) {
        double a = 1;
        double m = 0;
        double best = Double.POSITIVE_INFINITY;
        double slope = 0;
        for (int round = 0; round <= ROUNDS; round++) {
            Normal normal = new Normal();
            for (Scores scores : sequences) {
                add(scores, a, m, normal);
            }
            if (round > 0 && normal.divergence < best) {
                best = normal.divergence;
                slope = m;
            }
            double[] found = normal.solve();
            a = Math.clamp(found[0], 0.05, 3.0);
            m = found[1];
        }
        return slope;
    }

    /** Adds the centred normal equations of every query. */
    private static void add(Scores scores, double a, double m, Normal into) {
        double[] wanted = new double[scores.length];
        double[] fitted = new double[scores.length];
        int first = 0;
        for (int query = 0; query < scores.length; query++) {
            int keys = query + 1;
            for (int key = 0; key < keys; key++) {
                wanted[key] = scores.original[first + key];
                fitted[key] = a * scores.plain[first + key] + m * key;
            }
            into.divergence += softmaxes(wanted, fitted, keys);
            into.add(scores, first, wanted, fitted, keys);
            first += keys;
        }
    }

    /** Replaces both by their softmax; returns KL(wanted || fitted). */
    private static double softmaxes(double[] wanted, double[] fitted, int keys) {
        double ofWanted = logSum(wanted, keys);
        double ofFitted = logSum(fitted, keys);
        double divergence = 0;
        for (int key = 0; key < keys; key++) {
            double p = Math.exp(wanted[key] - ofWanted);
            divergence += p * (wanted[key] - ofWanted - fitted[key] + ofFitted);
            wanted[key] = p;
            fitted[key] = Math.exp(fitted[key] - ofFitted);
        }
        return divergence;
    }

    private static double logSum(double[] values, int count) {
        double most = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < count; i++) {
            most = Math.max(most, values[i]);
        }
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += Math.exp(values[i] - most);
        }
        return most + Math.log(sum);
    }

    /** E Cov_W of plain scores, positions and original scores, W half the original attention and half the fitted. */
    private static final class Normal {
        private double plainPlain;
        private double plainPosition;
        private double positionPosition;
        private double plainWanted;
        private double positionWanted;
        private double divergence;

        private void add(Scores scores, int first, double[] p, double[] fitted, int keys) {
            double plain = 0;
            double position = 0;
            double original = 0;
            for (int key = 0; key < keys; key++) {
                double w = (p[key] + fitted[key]) / 2;
                plain += w * scores.plain[first + key];
                position += w * key;
                original += w * scores.original[first + key];
            }
            for (int key = 0; key < keys; key++) {
                double w = (p[key] + fitted[key]) / 2;
                double x = scores.plain[first + key] - plain;
                double u = key - position;
                double s = scores.original[first + key] - original;
                plainPlain += w * x * x;
                plainPosition += w * x * u;
                positionPosition += w * u * u;
                plainWanted += w * x * s;
                positionWanted += w * u * s;
            }
        }

        /** a and m; a slope below 0 is none. */
        private double[] solve() {
            double lift = 1e-9 * (plainPlain + positionPosition) + Double.MIN_NORMAL;
            double left = plainPlain + lift;
            double right = positionPosition + lift;
            double determinant = left * right - plainPosition * plainPosition;
            double m = (left * positionWanted - plainPosition * plainWanted) / determinant;
            return m < 0
                    ? new double[] {plainWanted / left, 0}
                    : new double[] {(right * plainWanted - plainPosition * positionWanted) / determinant, m};
        }
    }

    /**
     * Which head goes where, so that the steepest fitted slope meets the steepest given one.
     *
     * @param fitted by head
     * @param given by place
     */
    static List<Integer> order(double[] fitted, float[] given) {
        List<Integer> heads = falling(IntStream.range(0, fitted.length).boxed().toList(), fitted);
        double[] slopes = new double[given.length];
        for (int i = 0; i < given.length; i++) {
            slopes[i] = given[i];
        }
        List<Integer> places = falling(IntStream.range(0, given.length).boxed().toList(), slopes);
        Integer[] order = new Integer[given.length];
        for (int i = 0; i < order.length; i++) {
            order[places.get(i)] = heads.get(i);
        }
        return List.of(order);
    }

    private static List<Integer> falling(List<Integer> indices, double[] values) {
        return indices.stream().sorted(Comparator.comparingDouble((Integer i) -> -values[i])).toList();
    }
}
