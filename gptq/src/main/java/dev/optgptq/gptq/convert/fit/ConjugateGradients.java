package dev.optgptq.gptq.convert.fit;

import dev.optgptq.kernels.dense.Matrix;
import java.util.function.UnaryOperator;

/** Preconditioned conjugate gradients (Hestenes and Stiefel 1952) for a x = b, a positive definite on matrices. */
record ConjugateGradients(UnaryOperator<Matrix> operator, UnaryOperator<Matrix> preconditioner) {

    /** Relative to the first residual's energy; below it there is no gain. */
    private static final double ENOUGH = 1e-10;

    /** From x_0, with a maximum number of steps. */
    Matrix solve(Matrix b, Matrix start, int steps) {
        Matrix x = start;
        Matrix residual = b.minus(operator.apply(x));
        Matrix z = preconditioner.apply(residual);
        Matrix direction = z;
        double energy = residual.dot(z);
        double first = energy;
        for (int step = 0; step < steps && energy > ENOUGH * first; step++) {
            Matrix image = operator.apply(direction);
            double curvature = direction.dot(image);
            if (!(curvature > 0)) {
                return x;
            }
            double length = energy / curvature;
            x = x.plus(direction.times(length));
            residual = residual.minus(image.times(length));
            z = preconditioner.apply(residual);
            double next = residual.dot(z);
            direction = z.plus(direction.times(next / energy));
            energy = next;
        }
        return x;
    }
}
