package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;

/**
 * Dense linear algebra in float64, for systems of normal equations: their condition is the square of the data's. All F64 unless said
 * otherwise; views with strides are welcome everywhere; arguments never alias unless an op says so. Every sum has an order that only the shapes decide.
 */
public interface Float64Ops {

    /** c = alpha op(a) op(b) + beta c, op transposes where asked; beta 0 never reads c. */
    void multiply(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta, Tensor c);

    /** y = alpha x + beta y, element by element: x F32 or F64, shaped as y; x may be y. Beta 0 never reads y otherwise. */
    void combine(double alpha, Tensor x, double beta, Tensor y);

    /** result[0] = sum over all elements of a * b: a, b [r, c], result [1, 1]. */
    void innerProduct(Tensor a, Tensor b, Tensor result);

    /**
     * b = a^-1 b by Cholesky's factorisation: a [n, n] symmetric positive definite, of which the lower triangle alone is read; it is
     * overwritten. b [n, columns]. Returns false, with both undefined, when a is not positive definite in this arithmetic.
     */
    boolean solve(Tensor a, Tensor b);
}
