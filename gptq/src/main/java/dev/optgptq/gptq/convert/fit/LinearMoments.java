package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Float64Ops;
import org.jspecify.annotations.Nullable;

/**
 * The moments of tokens that determine the squared error of a linear map from u [1, m] to y [1, n]: means, F64 on a device.
 *
 * @param inner E[u^T u] [m, m]
 * @param cross E[u^T y] [m, n]
 * @param input E[u] [1, m]
 * @param target E[y] [1, n]
 * @param targetEnergy E|y|^2
 * @param tokens how many
 */
public record LinearMoments(Tensor inner, Tensor cross, Tensor input, Tensor target, double targetEnergy,
        long tokens) {

    /** Of these tokens and others, in the place of these. */
    LinearMoments absorb(LinearMoments other, DeviceAlgebra algebra) {
        double mine = (double) tokens / (tokens + other.tokens);
        double theirs = 1 - mine;
        Float64Ops ops = algebra.device().float64();
        ops.combine(theirs, other.inner, mine, inner);
        ops.combine(theirs, other.cross, mine, cross);
        ops.combine(theirs, other.input, mine, input);
        ops.combine(theirs, other.target, mine, target);
        return new LinearMoments(inner, cross, input, target, targetEnergy * mine + other.targetEnergy * theirs,
                tokens + other.tokens);
    }

    /** E|y - u w - b|^2: w [m, n], b [1, n]. */
    double error(Tensor w, @Nullable Tensor b, DeviceAlgebra algebra) {
        try (TensorArena scratch = algebra.device().arena()) {
            double error = targetEnergy - 2 * algebra.dot(w, cross)
                    + algebra.dot(w, algebra.product(inner, false, w, false, scratch));
            if (b != null) {
                error += -2 * algebra.dot(b, target)
                        + 2 * algebra.dot(b, algebra.product(input, false, w, false, scratch)) + algebra.dot(b, b);
            }
            return error;
        }
    }

    /** The optimal bias for w. */
    Tensor bias(Tensor w, DeviceAlgebra algebra, TensorArena arena) {
        Tensor bias = algebra.copy(target, arena);
        algebra.device().float64().multiply(-1, input, false, w, false, 1, bias);
        return bias;
    }

    /** Copies of inner and cross without the means, if a bias absorbs them: covariances. */
    LinearMoments centred(boolean wanted, DeviceAlgebra algebra, TensorArena arena) {
        if (!wanted) {
            return this;
        }
        Tensor ownInner = algebra.copy(inner, arena);
        Tensor ownCross = algebra.copy(cross, arena);
        Float64Ops ops = algebra.device().float64();
        ops.multiply(-1, input, true, input, false, 1, ownInner);
        ops.multiply(-1, input, true, target, false, 1, ownCross);
        return new LinearMoments(ownInner, ownCross, input, target, targetEnergy, tokens);
    }
}
