package dev.optgptq.kernels.reference;

import static dev.optgptq.kernels.reference.Elements.get;
import static dev.optgptq.kernels.reference.Elements.set;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.Float64Ops;

/** The definition of Float64Ops: every sum from first to last. */
final class ReferenceFloat64Ops implements Float64Ops {

    @Override
    public void multiply(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
            Tensor c) {
        long inner = transposeA ? a.rows() : a.columns();
        for (long i = 0; i < c.rows(); i++) {
            for (long j = 0; j < c.columns(); j++) {
                double sum = 0;
                for (long k = 0; k < inner; k++) {
                    double left = transposeA ? get(a, k, i) : get(a, i, k);
                    sum += left * (transposeB ? get(b, j, k) : get(b, k, j));
                }
                set(c, i, j, beta == 0 ? alpha * sum : alpha * sum + beta * get(c, i, j));
            }
        }
    }

    @Override
    public void combine(double alpha, Tensor x, double beta, Tensor y) {
        for (long i = 0; i < y.rows(); i++) {
            for (long j = 0; j < y.columns(); j++) {
                double scaled = alpha * get(x, i, j);
                set(y, i, j, beta == 0 ? scaled : scaled + beta * get(y, i, j));
            }
        }
    }

    @Override
    public void innerProduct(Tensor a, Tensor b, Tensor result) {
        double sum = 0;
        for (long i = 0; i < a.rows(); i++) {
            for (long j = 0; j < a.columns(); j++) {
                sum += get(a, i, j) * get(b, i, j);
            }
        }
        set(result, 0, 0, sum);
    }

    @Override
    public boolean solve(Tensor a, Tensor b) {
        if (!factor(a)) {
            return false;
        }
        for (long column = 0; column < b.columns(); column++) {
            substitute(a, b, column);
        }
        return true;
    }

    /** The lower triangle of a becomes l with a = l l^T, row by row. */
    private static boolean factor(Tensor a) {
        for (long i = 0; i < a.rows(); i++) {
            for (long j = 0; j <= i; j++) {
                double sum = get(a, i, j);
                for (long k = 0; k < j; k++) {
                    sum -= get(a, i, k) * get(a, j, k);
                }
                if (i == j && !(sum > 0 && sum < Double.POSITIVE_INFINITY)) {
                    return false;
                }
                set(a, i, j, i == j ? Math.sqrt(sum) : sum / get(a, j, j));
            }
        }
        return true;
    }

    /** A column of b: l y = b from the top, l^T x = y from the bottom. */
    private static void substitute(Tensor l, Tensor b, long column) {
        for (long i = 0; i < l.rows(); i++) {
            double sum = get(b, i, column);
            for (long k = 0; k < i; k++) {
                sum -= get(l, i, k) * get(b, k, column);
            }
            set(b, i, column, sum / get(l, i, i));
        }
        for (long i = l.rows() - 1; i >= 0; i--) {
            double sum = get(b, i, column);
            for (long k = i + 1; k < l.rows(); k++) {
                sum -= get(l, k, i) * get(b, k, column);
            }
            set(b, i, column, sum / get(l, i, i));
        }
    }
}
