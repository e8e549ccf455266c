package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The best rank-d approximation of r stacked heads: min E sum_h |A_h (z_h - B_h c)|^2 over c = T z, by the top
 * eigenvectors V of A C A with A = blockdiag(A_h): T = V^T A, B_h = A_h^-1 V_h.
 */
record WeightedPca(Dense dense) {

    /** Floor of eigenvalues in square roots, relative to the mean. */
    static final double FLOOR = 1e-6;

    /**
     * Computes it.
     *
     * @param moments C [r d, r d]
     * @param metrics A_h^2 [d, d], one per head
     */
    Merge merge(Matrix moments, List<Matrix> metrics) {
        int d = metrics.getFirst().rows();
        List<Matrix> roots = new ArrayList<>();
        List<Matrix> inverses = new ArrayList<>();
        for (Matrix metric : metrics) {
            Dense.Root root = dense.root(metric, FLOOR);
            roots.add(root.root());
            inverses.add(root.inverse());
        }
        Matrix weights = blockDiagonal(roots);
        Dense.Eigen eigen = dense.eigen(dense.congruence(weights, moments));
        Matrix top = eigen.top(d);
        List<Matrix> spread = new ArrayList<>();
        for (int head = 0; head < metrics.size(); head++) {
            spread.add(dense.multiply(inverses.get(head), top.rows(head * d, d)));
        }
        return new Merge(dense.transposedMultiply(top, weights), spread, eigen.residual(d));
    }

    private static Matrix blockDiagonal(List<Matrix> blocks) {
        int d = blocks.getFirst().rows();
        int n = d * blocks.size();
        return Matrix.generate(n, n, (i, j) -> i / d == j / d ? blocks.get(i / d).at(i % d, j % d) : 0);
    }
}
