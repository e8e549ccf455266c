package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * An order of key-value heads in which neighbours lose little by sharing: what each pair would lose as one, of scores, weighted by how far
 * they move the output, and of values, seen through the output projection.
 *
 * @param keyMerge as keys are merged later
 * @param scale of scores
 */
public record HeadGrouping(Function<GroupMoments, Merge> keyMerge, Dense dense, double scale) {

    /**
     * Finds it.
     *
     * @param all moments of all heads as one group
     * @param size of the groups to be formed
     */
    public List<Integer> order(AttentionMatrices source, GroupMoments all, int size) {
        int n = all.members();
        double[][] costs = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < i; j++) {
                costs[i][j] = cost(source, all, List.of(j, i));
                costs[j][i] = costs[i][j];
            }
        }
        return HeadPartition.order(costs, size);
    }

    private double cost(AttentionMatrices source, GroupMoments all, List<Integer> pair) {
        GroupMoments group = all.of(pair);
        int each = all.queries().size() / all.members();
        List<Matrix> outputs = new ArrayList<>();
        for (int member : pair) {
            for (int head = member * each; head < (member + 1) * each; head++) {
                outputs.add(source.outputOf(head));
            }
        }
        boolean centred = source.outputBias() != null;
        double weight = group.weights().stream().mapToDouble(Double::doubleValue).average().orElse(0);
        return keyMerge.apply(group).residual() * keyEnergy(group) * weight * scale * scale
                + new ValueMerge(dense).merge(group, outputs, centred).residual()
                        * valueEnergy(group, outputs, centred);
    }

    /** What the residual of keys is a share of. */
    private static double keyEnergy(GroupMoments group) {
        Matrix keys = GroupMoments.mean(group.attendedKeys());
        double sum = 0;
        for (int member = 0; member < group.members(); member++) {
            sum += group.weightedQueries(member).dot(GroupMoments.block(keys, member, member, group.headDim()));
        }
        return sum;
    }

    /** The same of values: E|u_h O_h|^2. */
    private double valueEnergy(GroupMoments group, List<Matrix> outputs, boolean centred) {
        int each = outputs.size() / group.members();
        double sum = 0;
        for (int head = 0; head < outputs.size(); head++) {
            Matrix raw = group.attendedValues().get(head);
            Matrix moments = centred ? GroupMoments.centred(raw, group.attendedMeans().get(head)) : raw;
            int member = head / each;
            sum += dense.multiplyTransposed(outputs.get(head), outputs.get(head))
                    .dot(GroupMoments.block(moments, member, member, group.headDim()));
        }
        return sum;
    }
}
