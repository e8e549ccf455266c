package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Dense linear algebra. All F32 unless said otherwise; views with strides are welcome everywhere. */
public interface MatrixOps {

    /**
     * y = x w^T + bias + beta y: x [N, in], w [out, in], bias [1, out], y [N, out]; beta 0 never reads y. x and w are both
     * F32, both F16 or both BF16, or x is F32 and w either of these: weights as they are stored, with inputs that keep their
     * digits. Products of two elements are exact but of two F32, sums are in float32. Device.halves tells what fp16/bf16 gains.
     */
    void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y);

    /**
     * Several linears of the same inputs: what linear gives for each with beta 0, to the bit, in fewer launches where a
     * device can.
     *
     * @param x [N, in], as in linear; every y is F32 [N, its outputs]
     */
    default void linears(List<Product> products, Tensor x) {
        products.forEach(each -> linear(x, each.w(), each.bias(), 0, each.y()));
    }

    /** One of several linears: y = x w^T + bias. */
    record Product(Tensor w, @Nullable Tensor bias, Tensor y) {}

    /**
     * c = alpha op(a) op(b) + beta c, op transposes where asked; beta 0 never reads c. a and b are both F32, both F16 or both BF16;
     * products of two halves are exact, sums are in float32, c is F32.
     */
    void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c);

    /**
     * The Hessian's rank-k update: h += alpha x^T x, in the upper triangle only; the strict lower triangle is neither read
     * nor written. x [N, n] in F32, F16 or BF16, for which accelerators have matrix units; h [n, n];
     * sums in float32.
     */
    void accumulateGram(float alpha, Tensor x, Tensor h);

    /** Copies the upper triangle onto the lower, in place: h [n, n]. */
    void symmetrize(Tensor h);

    /** out[i] = h[i, i]: out [1, n]. */
    void diagonal(Tensor h, Tensor out);

    /** h[i, i] = values[i], in place: values [1, n]. */
    void setDiagonal(Tensor h, Tensor values);

    /**
     * The upper triangular u with u^T u = h^-1 and a positive diagonal, zero below it: h [n, n] symmetric (both triangles
     * valid), u [n, n]. Computed from h = v v^T with v upper triangular (a Cholesky factorisation in reversed order), u =
     * v^-1, so the inverse itself is never formed. Returns false, with u undefined, when h is not positive definite in
     * this arithmetic.
     */
    boolean inverseFactor(Tensor h, Tensor u);

    /** target = source^T, any 1-, 2- or 4-byte dtype: source [r, c], target [c, r]. */
    void transpose(Tensor source, Tensor target);

    /** target[i] = source[order[i]], whole rows of any dtype: order I32 [1, rows of target], each a row of source. */
    void gatherRows(Tensor source, Tensor order, Tensor target);

    /**
     * target[r, j] = source[r, order[j]], any dtype: source [N, C], target [N, columns of order], order I32 [1, ..], each a
     * column of source. Its gradient, where order has every column once, is the same with the inverse order.
     */
    void gatherColumns(Tensor source, Tensor order, Tensor target);

    /** target[i, j] = source[order[i], order[j]]: both [n, n], order I32 [1, n]. */
    void gatherSymmetric(Tensor source, Tensor order, Tensor target);

    /** result[0] = sum over all elements of a * b, accumulated in float64: a, b [r, c], result F64 [1, 1]. */
    void dot(Tensor a, Tensor b, Tensor result);

    /**
     * result[0] = tr(d^T h d): h [n, n] symmetric (both triangles valid), d and product [n, m], result F64 [1, 1]. Of every strip
     * of h's rows only what is right of its diagonal block is multiplied, and counts twice. What product holds afterwards is
     * undefined.
     */
    default void quadratic(Tensor h, Tensor d, Tensor product, Tensor result) {
        long n = d.rows();
        for (long from = 0; from < n; from += QUADRATIC_STRIP) {
            long rows = Math.min(QUADRATIC_STRIP, n - from);
            long end = from + rows;
            Tensor strip = h.rows(from, rows);
            Tensor ofStrip = product.rows(from, rows);
            gemm(1, strip.columns(from, rows), false, d.rows(from, rows), false, 0, ofStrip);
            if (end < n) {
                gemm(2, strip.columns(end, n - end), false, d.rows(end, n - end), false, 1, ofStrip);
            }
        }
        dot(d, product, result);
    }

    /** Rows of h in quadratic that are multiplied at once: enough for a library's full rate. */
    long QUADRATIC_STRIP = 1024;

    /**
     * peak[0] = max(peak[0], |x|) over all elements of x, infinity where one is NaN: x F32, F16 or BF16, peak F32 [1, 1], not
     * negative. The result does not depend on the order.
     */
    void peak(Tensor x, Tensor peak);

    /** target = a - b, element by element; target may be a or b. */
    void subtract(Tensor a, Tensor b, Tensor target);

    /** target = value in every element: target F32, F64 or I32. */
    void fill(Tensor target, float value);

    /** target = source; same shape and dtype, any strides. */
    void copy(Tensor source, Tensor target);
}
