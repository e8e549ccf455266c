package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import org.jspecify.annotations.Nullable;

/**
 * The moments of tokens that determine the squared error of a linear map from u [1, m] to y [1, n]: means.
 *
 * @param inner E[u^T u] [m, m]
 * @param cross E[u^T y] [m, n]
 * @param input E[u] [1, m]
 * @param target E[y] [1, n]
 * @param targetEnergy E|y|^2
 * @param tokens how many
 */
public record LinearMoments(Matrix inner, Matrix cross, Matrix input, Matrix target, double targetEnergy,
        long tokens) {

    /** Of these tokens and others. */
    public LinearMoments with(LinearMoments other) {
        double mine = (double) tokens / (tokens + other.tokens);
        double theirs = 1 - mine;
        return new LinearMoments(inner.times(mine).plus(other.inner.times(theirs)),
                cross.times(mine).plus(other.cross.times(theirs)), input.times(mine).plus(other.input.times(theirs)),
                target.times(mine).plus(other.target.times(theirs)),
                targetEnergy * mine + other.targetEnergy * theirs, tokens + other.tokens);
    }

    /** E|y - u w - b|^2: w [m, n], b [1, n]. */
    double error(Matrix w, @Nullable Matrix b, Dense dense) {
        double error = targetEnergy - 2 * w.dot(cross) + w.dot(dense.multiply(inner, w));
        if (b != null) {
            error += -2 * b.dot(target) + 2 * b.dot(dense.multiply(input, w)) + b.dot(b);
        }
        return error;
    }

    /** The optimal bias for w. */
    Matrix bias(Matrix w, Dense dense) {
        return target.minus(dense.multiply(input, w));
    }

    /** Without the means, if a bias absorbs them: inner and cross become covariances. */
    LinearMoments centred(boolean wanted) {
        if (!wanted) {
            return this;
        }
        Matrix ownInner = Matrix.generate(inner.rows(), inner.columns(),
                (i, j) -> inner.at(i, j) - input.at(0, i) * input.at(0, j));
        Matrix ownCross = Matrix.generate(cross.rows(), cross.columns(),
                (i, j) -> cross.at(i, j) - input.at(0, i) * target.at(0, j));
        return new LinearMoments(ownInner, ownCross, input, target, targetEnergy, tokens);
    }
}
