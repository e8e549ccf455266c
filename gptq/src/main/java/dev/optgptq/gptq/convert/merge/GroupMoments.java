package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Matrix;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Moments of a group of r key-value heads, its members, with d elements each, and of the query heads that use them,
 * equally many each, in the members' order: means over the calibration tokens. Queries and keys are those of the
 * scores, after RoPE if there is one; P_t is a query head's attention from token t.
 *
 * @param members r
 * @param queries per query head E[q q^T] [d, d]
 * @param keys E[z z^T] of the members' stacked keys z [r d, r d]
 * @param keyMean E[z] [1, r d]
 * @param attendedKeys per query head E_t Cov_{P_t}(z) [r d, r d]: spread of the members' keys under the head's
 *     attention
 * @param attendedValues per query head E[u u^T] [r d, r d] of u_t = E_{P_t}(zeta), zeta the members' stacked values
 * @param attendedMeans per query head E[u] [1, r d]
 * @param weights per query head the weight of its score errors: the spread of its values under its attention, after the
 *     output projection
 */
public record GroupMoments(int members, List<Matrix> queries, Matrix keys, Matrix keyMean, List<Matrix> attendedKeys,
        List<Matrix> attendedValues, List<Matrix> attendedMeans, List<Double> weights) {

    /** Smallest weight of a head, relative to the mean. */
    private static final double LEAST_WEIGHT = 1e-3;

    public GroupMoments {
        if (members < 1 || queries.isEmpty() || queries.size() % members != 0) {
            throw new IllegalArgumentException(queries.size() + " query heads of " + members + " members");
        }
        queries = List.copyOf(queries);
        attendedKeys = List.copyOf(attendedKeys);
        attendedValues = List.copyOf(attendedValues);
        attendedMeans = List.copyOf(attendedMeans);
        weights = List.copyOf(weights);
    }

    /** d. */
    public int headDim() {
        return queries.getFirst().rows();
    }

    /** Of one member: the sum of its heads' query moments, each times its weight, the mean weight being 1. */
    Matrix weightedQueries(int member) {
        int each = queries.size() / members;
        double mean = weights.stream().mapToDouble(Double::doubleValue).average().orElse(0);
        Matrix sum = Matrix.zeros(headDim(), headDim());
        for (int head = member * each; head < (member + 1) * each; head++) {
            double weight = (mean > 0 ? weights.get(head) / mean : 1) + LEAST_WEIGHT;
            sum = sum.plus(queries.get(head).times(weight));
        }
        return sum;
    }

    /** Those of some members, as a group of their own. */
    GroupMoments of(List<Integer> some) {
        int each = queries.size() / members;
        List<Integer> heads = some.stream()
                .flatMap(member -> IntStream.range(member * each, (member + 1) * each).boxed()).toList();
        return new GroupMoments(some.size(), pick(queries, heads), blocks(keys, some), columns(keyMean, some),
                pick(attendedKeys, heads).stream().map(m -> blocks(m, some)).toList(),
                pick(attendedValues, heads).stream().map(m -> blocks(m, some)).toList(),
                pick(attendedMeans, heads).stream().map(m -> columns(m, some)).toList(), pick(weights, heads));
    }

    private static <T> List<T> pick(List<T> all, List<Integer> which) {
        return which.stream().map(all::get).toList();
    }

    private Matrix blocks(Matrix m, List<Integer> some) {
        int d = headDim();
        return Matrix.generate(some.size() * d, some.size() * d,
                (i, j) -> m.at(some.get(i / d) * d + i % d, some.get(j / d) * d + j % d));
    }

    private Matrix columns(Matrix row, List<Integer> some) {
        int d = headDim();
        return Matrix.generate(1, some.size() * d, (i, j) -> row.at(0, some.get(j / d) * d + j % d));
    }

    /** A head's block [d, d] of moments of stacked heads, or one between two heads. */
    static Matrix block(Matrix m, int row, int column, int d) {
        return Matrix.generate(d, d, (i, j) -> m.at(row * d + i, column * d + j));
    }

    static Matrix mean(List<Matrix> matrices) {
        Matrix sum = matrices.getFirst();
        for (Matrix matrix : matrices.subList(1, matrices.size())) {
            sum = sum.plus(matrix);
        }
        return sum.times(1.0 / matrices.size());
    }

    /** m - mean^T mean. */
    static Matrix centred(Matrix m, Matrix mean) {
        return Matrix.generate(m.rows(), m.columns(), (i, j) -> m.at(i, j) - mean.at(0, i) * mean.at(0, j));
    }
}
