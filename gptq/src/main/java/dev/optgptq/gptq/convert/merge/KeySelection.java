package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Shared keys where a norm follows the projection: no map passes through it to the queries, which stay
 * as they are. Weights of the norm that tell heads apart are shared as the keys are. The shared key is that of the member that the scores of all miss least, or the mean of their projections. Exact
 * where the members' keys are equal up to positive factors, which the norm takes out.
 *
 * @param mean whether it is the mean
 */
public record KeySelection(boolean mean) {

    /** T acts on the projections before the norm; each B_h is the identity. */
    public Merge merge(GroupMoments group) {
        int r = group.members();
        int best = 0;
        double least = Double.POSITIVE_INFINITY;
        for (int member = 0; member < r; member++) {
            double lost = lost(group, member);
            if (lost < least) {
                least = lost;
                best = member;
            }
        }
        int d = group.headDim();
        int chosen = best;
        Matrix shared = Matrix.generate(d, r * d, (i, j) -> i == j % d && (mean || j / d == chosen)
                ? (mean ? 1.0 / r : 1)
                : 0);
        Matrix identity = Matrix.generate(d, d, (i, j) -> i == j ? 1 : 0);
        return new Merge(shared, new ArrayList<>(Collections.nCopies(r, identity)), least);
    }

    /** The share of the weighted energy of scores that is lost where member stands for all: E[(q_h . (k_h - k_m))^2] under attention. */
    private static double lost(GroupMoments group, int member) {
        Matrix keys = GroupMoments.mean(group.attendedKeys());
        double lost = 0;
        double all = 0;
        for (int head = 0; head < group.members(); head++) {
            Matrix queries = group.weightedQueries(head);
            Matrix own = GroupMoments.block(keys, head, head, group.headDim());
            Matrix cross = GroupMoments.block(keys, head, member, group.headDim());
            Matrix other = GroupMoments.block(keys, member, member, group.headDim());
            all += queries.dot(own);
            lost += queries.dot(own.plus(other).minus(cross).minus(cross.transposed()));
        }
        return all > 0 ? Math.clamp(lost / all, 0, Double.MAX_VALUE) : 0;
    }

    /** Both ways. */
    public static List<KeySelection> ways() {
        return List.of(new KeySelection(false), new KeySelection(true));
    }
}
