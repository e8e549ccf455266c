package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.function.BiConsumer;

/**
 * Preconditioned conjugate gradients (Hestenes and Stiefel 1952) for a x = b, a positive definite.
 *
 * @param operator writes a of its first argument to its second
 * @param preconditioner likewise, an approximate inverse
 */
public record ConjugateGradients(Vectors vectors, BiConsumer<Tensor, Tensor> operator,
        BiConsumer<Tensor, Tensor> preconditioner) {

    /** Relative to the first residual's energy; below it there is no gain. */
    private static final double ENOUGH = 1e-10;

    /**
     * Improves x, with a maximum number of steps.
     *
     * @param residual b, overwritten
     */
    public void solve(Tensor residual, Tensor x, int steps) {
        try (TensorArena scratch = vectors.device().arena()) {
            Tensor image = scratch.matrix(vectors.dtype(), x.rows(), x.columns());
            Tensor z = scratch.matrix(vectors.dtype(), x.rows(), x.columns());
            Tensor direction = scratch.matrix(vectors.dtype(), x.rows(), x.columns());
            operator.accept(x, image);
            vectors.combine(-1, image, 1, residual);
            preconditioner.accept(residual, z);
            vectors.combine(1, z, 0, direction);
            double energy = vectors.dot(residual, z);
            double first = energy;
            for (int step = 0; step < steps && energy > ENOUGH * first; step++) {
                operator.accept(direction, image);
                double curvature = vectors.dot(direction, image);
                if (!(curvature > 0)) {
                    return;
                }
                double length = energy / curvature;
                vectors.combine(length, direction, 1, x);
                vectors.combine(-length, image, 1, residual);
                preconditioner.accept(residual, z);
                double next = vectors.dot(residual, z);
                vectors.combine(1, z, next / energy, direction);
                energy = next;
            }
        }
    }
}
