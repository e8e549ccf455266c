package dev.optgptq.gptq.convert.fit;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Float64Ops;
import java.util.function.BiConsumer;

/**
 * Preconditioned conjugate gradients (Hestenes and Stiefel 1952) for a x = b, a positive definite on matrices.
 *
 * @param operator writes a of its first argument to its second
 * @param preconditioner likewise, an approximate inverse
 */
record ConjugateGradients(DeviceAlgebra algebra, BiConsumer<Tensor, Tensor> operator,
        BiConsumer<Tensor, Tensor> preconditioner) {

    /** Relative to the first residual's energy; below it there is no gain. */
    private static final double ENOUGH = 1e-10;

    /**
     * Improves x, with a maximum number of steps.
     *
     * @param residual b, overwritten
     */
    void solve(Tensor residual, Tensor x, int steps) {
        Float64Ops ops = algebra.device().float64();
        try (TensorArena scratch = algebra.device().arena()) {
            Tensor image = scratch.matrix(DType.F64, x.rows(), x.columns());
            Tensor z = scratch.matrix(DType.F64, x.rows(), x.columns());
            operator.accept(x, image);
            algebra.add(-1, image, residual);
            preconditioner.accept(residual, z);
            Tensor direction = algebra.copy(z, scratch);
            double energy = algebra.dot(residual, z);
            double first = energy;
            for (int step = 0; step < steps && energy > ENOUGH * first; step++) {
                operator.accept(direction, image);
                double curvature = algebra.dot(direction, image);
                if (!(curvature > 0)) {
                    return;
                }
                double length = energy / curvature;
                algebra.add(length, direction, x);
                algebra.add(-length, image, residual);
                preconditioner.accept(residual, z);
                double next = algebra.dot(residual, z);
                ops.combine(1, z, next / energy, direction);
                energy = next;
            }
        }
    }
}
