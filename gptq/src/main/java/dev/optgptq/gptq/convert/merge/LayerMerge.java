package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A layer whose key-value heads were merged, neighbours into one.
 *
 * @param weights with one key-value head per group
 * @param values per group, the map from its members' stacked values: T [d, r d]
 * @param keyResidual the share of the weighted energy of keys that was lost, on the average of the groups
 * @param valueResidual the same of values
 */
public record LayerMerge(AttentionMatrices weights, List<Matrix> values, double keyResidual, double valueResidual) {

    /** The same with other weights of the norm that tells key heads apart. */
    public LayerMerge withKeyNorm(Matrix keyNorm) {
        return new LayerMerge(weights.withKeyNorm(keyNorm), values, keyResidual, valueResidual);
    }

    /** Merges them. */
    public static LayerMerge of(AttentionMatrices source, List<GroupMoments> groups, HeadLayout layout, Dense dense) {
        return of(source, groups, new KeyMerge(dense, layout)::merge, dense);
    }

    /** Merges them, with keys merged in another way. */
    public static LayerMerge of(AttentionMatrices source, List<GroupMoments> groups,
            Function<GroupMoments, Merge> keyMerge, Dense dense) {
        ValueMerge valueMerge = new ValueMerge(dense);
        boolean centred = source.outputBias() != null;
        List<Merge> keys = dense.each(groups.size(), group -> keyMerge.apply(groups.get(group)));
        List<Merge> values = dense.each(groups.size(),
                group -> valueMerge.merge(groups.get(group), outputs(source, group, groups.size()), centred));
        Builder builder = new Builder(source, groups, dense);
        AttentionMatrices scores = builder.scores(keys);
        return new LayerMerge(builder.values(scores, values), values.stream().map(Merge::shared).toList(),
                residual(keys), residual(values));
    }

    private static double residual(List<Merge> merges) {
        return merges.stream().mapToDouble(Merge::residual).average().orElse(0);
    }

    private static List<Matrix> outputs(AttentionMatrices source, int group, int groups) {
        int sharing = source.heads() / groups;
        return IntStream.range(group * sharing, (group + 1) * sharing).mapToObj(source::outputOf).toList();
    }

    /** Assembles the merged weights. */
    private record Builder(AttentionMatrices source, List<GroupMoments> groups, Dense dense) {

        private int d() {
            return source.headDim();
        }

        /** Query heads of a group, and of a member. */
        private int sharing() {
            return source.heads() / groups.size();
        }

        private int member(int head) {
            return head % sharing() / (sharing() / groups.getFirst().members());
        }

        private AttentionMatrices scores(List<Merge> merges) {
            List<Matrix> query = dense.each(source.heads(), head -> dense.transposedMultiply(
                    spread(merges, head), source.query().rows(head * d(), d())));
            Matrix queryBias = source.queryBias();
            Matrix bias = queryBias == null
                    ? null
                    : Matrix.stack(dense.each(source.heads(), head -> dense.transposedMultiply(spread(merges, head),
                            column(queryBias, head * d(), d())))).transposed();
            return source.withScores(Matrix.stack(query), bias, shared(merges, source.key()),
                    sharedBias(merges, source.keyBias())).withKeyNorm(sharedBias(merges, source.keyNorm()));
        }

        private Matrix spread(List<Merge> merges, int head) {
            return merges.get(head / sharing()).spread().get(member(head));
        }

        private AttentionMatrices values(AttentionMatrices scores, List<Merge> merges) {
            Matrix rows = source.outputRows();
            List<Matrix> output = dense.each(source.heads(), head -> dense.transposedMultiply(spread(merges, head),
                    rows.rows(head * d(), d())));
            Matrix outputBias = source.outputBias();
            if (outputBias != null) {
                for (int head = 0; head < source.heads(); head++) {
                    outputBias = outputBias.plus(
                            dense.multiply(lost(merges.get(head / sharing()), head), rows.rows(head * d(), d())));
                }
            }
            return scores.withValues(shared(merges, source.value()), sharedBias(merges, source.valueBias()),
                    Matrix.stack(output), outputBias);
        }

        /** Loss of the mean of a head's own values, [1, d]: mu_own - B T mu. */
        private Matrix lost(Merge merge, int head) {
            int group = head / sharing();
            Matrix mean = groups.get(group).attendedMeans().get(head % sharing());
            Matrix kept = dense.multiplyTransposed(dense.multiplyTransposed(mean, merge.shared()),
                    merge.spread().get(member(head)));
            return mean.columns(member(head) * d(), d()).minus(kept);
        }

        private Matrix shared(List<Merge> merges, Matrix heads) {
            int stacked = groups.getFirst().members() * d();
            return Matrix.stack(dense.each(merges.size(), group -> dense.multiply(merges.get(group).shared(),
                    heads.rows(group * stacked, stacked))));
        }

        private @Nullable Matrix sharedBias(List<Merge> merges, @Nullable Matrix bias) {
            return bias == null ? null : shared(merges, bias.transposed()).transposed();
        }

        private static Matrix column(Matrix bias, int from, int count) {
            return bias.columns(from, count).transposed();
        }
    }
}
