package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * Merges keys by the resulting score errors, q_h . (k_h - B_h c), weighted by attention. Elements that do not rotate
 * mix by any matrix; a pair that RoPE rotates by one complex number, the only maps that commute with the rotations.
 * Exact where the keys of the heads are equal up to such a map and a constant.
 */
public record KeyMerge(Dense dense, HeadLayout layout) {

    /** Merges the keys of a group. */
    public Merge merge(GroupMoments group) {
        int d = layout.headDim();
        int r = group.members();
        double[][] shared = new double[d][r * d];
        List<double[][]> spread = new ArrayList<>();
        for (int member = 0; member < r; member++) {
            spread.add(new double[d][d]);
        }
        double lost = 0;
        if (!layout.rest().isEmpty()) {
            Merge rest = mergeRest(group);
            place(rest, shared, spread);
            lost += rest.residual() * layout.rest().size();
        }
        RotaryMerge rotary = RotaryMerge.of(dense, group);
        for (HeadLayout.Pair pair : layout.pairs()) {
            RotaryMerge.Turn turn = rotary.merge(pair);
            turn.place(pair, d, shared, spread);
            lost += 2 * turn.residual();
        }
        return new Merge(matrix(shared), spread.stream().map(KeyMerge::matrix).toList(), lost / d);
    }

    private Merge mergeRest(GroupMoments group) {
        int r = group.members();
        List<Matrix> metrics = new ArrayList<>();
        for (int member = 0; member < r; member++) {
            metrics.add(ofRest(group.weightedQueries(member), 1));
        }
        Matrix moments = ofRest(GroupMoments.mean(group.attendedKeys()), r);
        Matrix energy = ofRest(GroupMoments.centred(group.keys(), group.keyMean()), r);
        return new WeightedPca(dense).merge(moments, metrics).scaledTo(energy, dense);
    }

    /** The rows and columns of the elements that do not rotate, in each of some heads. */
    private Matrix ofRest(Matrix m, int heads) {
        List<Integer> rest = layout.rest();
        int n = rest.size();
        int d = layout.headDim();
        return Matrix.generate(heads * n, heads * n,
                (i, j) -> m.at(i / n * d + rest.get(i % n), j / n * d + rest.get(j % n)));
    }

    private void place(Merge rest, double[][] shared, List<double[][]> spread) {
        int n = layout.rest().size();
        int d = layout.headDim();
        for (int i = 0; i < n; i++) {
            int row = layout.rest().get(i);
            for (int head = 0; head < spread.size(); head++) {
                for (int j = 0; j < n; j++) {
                    int column = layout.rest().get(j);
                    shared[row][head * d + column] = rest.shared().at(i, head * n + j);
                    spread.get(head)[row][column] = rest.spread().get(head).at(i, j);
                }
            }
        }
    }

    private static Matrix matrix(double[][] rows) {
        return Matrix.generate(rows.length, rows[0].length, (i, j) -> rows[i][j]);
    }
}
