package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedMatrixOps implements MatrixOps {

    private final MatrixOps ops;

    public CheckedMatrixOps(MatrixOps ops) {
        this.ops = ops;
    }

    @Override
    public void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        checkLinear(x, w, bias, y);
        ops.linear(x, w, bias, beta, y);
    }

    @Override
    public void linears(List<Product> products, Tensor x) {
        products.forEach(each -> checkLinear(x, each.w(), each.bias(), each.y()));
        ops.linears(products, x);
    }

    private static void checkLinear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
        factor("linear", "x", x);
        factor("linear", "w", w);
        Arguments.shaped("linear", "w", w, x.dtype() == DType.F32 ? w.dtype() : x.dtype(), w.rows(), x.columns());
        Arguments.f32("linear", "y", y, x.rows(), w.rows());
        if (bias != null) {
            Arguments.f32("linear", "bias", bias, 1, w.rows());
        }
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        long inner = transposeA ? a.rows() : a.columns();
        factor("gemm", "a", a);
        Arguments.shaped("gemm", "b", b, a.dtype(), transposeB ? b.rows() : inner, transposeB ? inner : b.columns());
        Arguments.f32("gemm", "c", c, transposeA ? a.columns() : a.rows(), transposeB ? b.rows() : b.columns());
        ops.gemm(alpha, a, transposeA, b, transposeB, beta, c);
    }

    @Override
    public void accumulateGram(float alpha, Tensor x, Tensor h) {
        factor("accumulateGram", "x", x);
        Arguments.f32("accumulateGram", "h", h, x.columns(), x.columns());
        ops.accumulateGram(alpha, x, h);
    }

    private static void factor(String op, String name, Tensor tensor) {
        if (tensor.dtype() != DType.F32 && tensor.dtype() != DType.F16 && tensor.dtype() != DType.BF16) {
            throw new IllegalArgumentException(op + ": " + name + ": expected F32, F16 or BF16, found " + tensor);
        }
    }

    @Override
    public void symmetrize(Tensor h) {
        Arguments.f32("symmetrize", "h", h, h.rows(), h.rows());
        ops.symmetrize(h);
    }

    @Override
    public void diagonal(Tensor h, Tensor out) {
        Arguments.f32("diagonal", "h", h, h.rows(), h.rows());
        Arguments.f32("diagonal", "out", out, 1, h.rows());
        ops.diagonal(h, out);
    }

    @Override
    public void setDiagonal(Tensor h, Tensor values) {
        Arguments.f32("setDiagonal", "h", h, h.rows(), h.rows());
        Arguments.f32("setDiagonal", "values", values, 1, h.rows());
        ops.setDiagonal(h, values);
    }

    @Override
    public boolean inverseFactor(Tensor h, Tensor u) {
        Arguments.f32("inverseFactor", "h", h, h.rows(), h.rows());
        Arguments.f32("inverseFactor", "u", u, h.rows(), h.rows());
        return ops.inverseFactor(h, u);
    }

    @Override
    public void transpose(Tensor source, Tensor target) {
        if (source.dtype().bytes() > 4) {
            throw new IllegalArgumentException("transpose: source: expected a 1-, 2- or 4-byte dtype, found " + source);
        }
        Arguments.shaped("transpose", "target", target, source.dtype(), source.columns(), source.rows());
        ops.transpose(source, target);
    }

    @Override
    public void gatherRows(Tensor source, Tensor order, Tensor target) {
        Arguments.shaped("gatherRows", "target", target, source.dtype(), target.rows(), source.columns());
        Arguments.shaped("gatherRows", "order", order, DType.I32, 1, target.rows());
        ops.gatherRows(source, order, target);
    }

    @Override
    public void gatherColumns(Tensor source, Tensor order, Tensor target) {
        Arguments.shaped("gatherColumns", "target", target, source.dtype(), source.rows(), target.columns());
        Arguments.shaped("gatherColumns", "order", order, DType.I32, 1, target.columns());
        ops.gatherColumns(source, order, target);
    }

    @Override
    public void gatherSymmetric(Tensor source, Tensor order, Tensor target) {
        Arguments.f32("gatherSymmetric", "source", source, source.rows(), source.rows());
        Arguments.f32("gatherSymmetric", "target", target, source.rows(), source.rows());
        Arguments.shaped("gatherSymmetric", "order", order, DType.I32, 1, source.rows());
        ops.gatherSymmetric(source, order, target);
    }

    @Override
    public void dot(Tensor a, Tensor b, Tensor result) {
        Arguments.f32("dot", "a", a, a.rows(), a.columns());
        Arguments.f32("dot", "b", b, a.rows(), a.columns());
        Arguments.shaped("dot", "result", result, DType.F64, 1, 1);
        ops.dot(a, b, result);
    }

    @Override
    public void quadratic(Tensor h, Tensor d, Tensor product, Tensor result) {
        Arguments.f32("quadratic", "h", h, d.rows(), d.rows());
        Arguments.f32("quadratic", "d", d, d.rows(), d.columns());
        Arguments.f32("quadratic", "product", product, d.rows(), d.columns());
        Arguments.shaped("quadratic", "result", result, DType.F64, 1, 1);
        ops.quadratic(h, d, product, result);
    }

    @Override
    public void peak(Tensor x, Tensor peak) {
        if (x.dtype() != DType.F32 && x.dtype() != DType.F16 && x.dtype() != DType.BF16) {
            throw new IllegalArgumentException("peak: x: expected F32, F16 or BF16, found " + x);
        }
        Arguments.f32("peak", "peak", peak, 1, 1);
        ops.peak(x, peak);
    }

    @Override
    public void subtract(Tensor a, Tensor b, Tensor target) {
        Arguments.f32("subtract", "a", a, a.rows(), a.columns());
        Arguments.f32("subtract", "b", b, a.rows(), a.columns());
        Arguments.f32("subtract", "target", target, a.rows(), a.columns());
        ops.subtract(a, b, target);
    }

    @Override
    public void fill(Tensor target, float value) {
        if (target.dtype() != DType.F32 && target.dtype() != DType.F64 && target.dtype() != DType.I32) {
            throw new IllegalArgumentException("fill: target: expected F32, F64 or I32, found " + target);
        }
        ops.fill(target, value);
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        Arguments.shaped("copy", "target", target, source.dtype(), source.rows(), source.columns());
        ops.copy(source, target);
    }
}
