package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedFloat64Ops implements Float64Ops {

    private final Float64Ops ops;

    public CheckedFloat64Ops(Float64Ops ops) {
        this.ops = ops;
    }

    @Override
    public void multiply(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
            Tensor c) {
        long inner = transposeA ? a.rows() : a.columns();
        f64("multiply", "a", a, a.rows(), a.columns());
        f64("multiply", "b", b, transposeB ? b.rows() : inner, transposeB ? inner : b.columns());
        f64("multiply", "c", c, transposeA ? a.columns() : a.rows(), transposeB ? b.rows() : b.columns());
        ops.multiply(alpha, a, transposeA, b, transposeB, beta, c);
    }

    @Override
    public void combine(double alpha, Tensor x, double beta, Tensor y) {
        if (x.dtype() != DType.F32 && x.dtype() != DType.F64) {
            throw new IllegalArgumentException("combine: x: expected F32 or F64, found " + x);
        }
        f64("combine", "y", y, x.rows(), x.columns());
        ops.combine(alpha, x, beta, y);
    }

    @Override
    public void innerProduct(Tensor a, Tensor b, Tensor result) {
        f64("innerProduct", "a", a, a.rows(), a.columns());
        f64("innerProduct", "b", b, a.rows(), a.columns());
        f64("innerProduct", "result", result, 1, 1);
        ops.innerProduct(a, b, result);
    }

    @Override
    public boolean solve(Tensor a, Tensor b) {
        f64("solve", "a", a, a.rows(), a.rows());
        f64("solve", "b", b, a.rows(), b.columns());
        return ops.solve(a, b);
    }

    private static void f64(String op, String name, Tensor tensor, long rows, long columns) {
        Arguments.shaped(op, name, tensor, DType.F64, rows, columns);
    }
}
