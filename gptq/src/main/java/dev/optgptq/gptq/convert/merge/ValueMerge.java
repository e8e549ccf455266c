package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * Merges values by their averages under attention, through each head's rows of the output projection. Exact where the
 * values of the heads are equal up to an invertible matrix.
 */
public record ValueMerge(Dense dense) {

    /**
     * Merges the values of a group.
     *
     * @param outputs per query head its rows of the output projection, O_h [d, hidden]: it adds o_h O_h to the output
     * @param centred whether an output bias can absorb the mean of the averages
     */
    public Merge merge(GroupMoments group, List<Matrix> outputs, boolean centred) {
        List<Matrix> moments = new ArrayList<>();
        for (int head = 0; head < outputs.size(); head++) {
            Matrix raw = group.attendedValues().get(head);
            moments.add(centred ? GroupMoments.centred(raw, group.attendedMeans().get(head)) : raw);
        }
        Matrix mean = GroupMoments.mean(moments);
        int each = outputs.size() / group.members();
        List<Matrix> metrics = new ArrayList<>();
        for (int member = 0; member < group.members(); member++) {
            Matrix rows = Matrix.stack(outputs.subList(member * each, (member + 1) * each));
            metrics.add(squares(rows, group.headDim(), each));
        }
        return new WeightedPca(dense).merge(mean, metrics).scaledTo(mean, dense);
    }

    /** The sum of O_h O_h^T over stacked heads. */
    private Matrix squares(Matrix rows, int d, int heads) {
        Matrix sum = Matrix.zeros(d, d);
        for (int head = 0; head < heads; head++) {
            Matrix o = rows.rows(head * d, d);
            sum = sum.plus(dense.multiplyTransposed(o, o).symmetrized());
        }
        return sum;
    }
}
