package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.MatrixOps.Product;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Matmuls: few rows of fp16/bf16 by {@link FewRows}, where a GPU has what it takes; else the vendor's library if there is one that can be
 * trusted with the dtype, otherwise the tiles of gemm.hip.
 */
final class GpuGemm {

    private static final int THREADS = 256;
    /** Edge of the tile of a block. */
    private static final long TILE = 128;

    private final GpuContext context;
    private final FewRows few;

    GpuGemm(GpuContext context) {
        this.context = context;
        this.few = new FewRows(context, this::inFloat32);
    }

    /** c = alpha op(a) op(b) + beta c: a and b of one dtype, F32, F16 or BF16; beta 0 never reads c. */
    void multiply(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        GpuBlas blas = context.blas();
        boolean sums = a.elements() > 0 && c.elements() > 0;
        boolean trusted = a.dtype() == DType.F32 || context.trustsProducts(a.dtype());
        if (blas != null && sums && trusted) {
            blas.gemm(alpha, a, transposeA, b, transposeB, beta, c);
        } else if (a.dtype() == DType.F32) {
            tiles(alpha, a, transposeA, b, transposeB, null, beta, c, false);
        } else {
            try (TensorArena arena = context.arena()) {
                multiply(alpha, Conversion.widened(context, a, arena), transposeA,
                        Conversion.widened(context, b, arena), transposeB, beta, c);
            }
        }
    }

    /** c = a b^T by the plain tiles. */
    private void inFloat32(Tensor a, Tensor b, Tensor c) {
        try (TensorArena arena = context.arena()) {
            tiles(1f, Conversion.widened(context, a, arena), false, Conversion.widened(context, b, arena), true, null,
                    0, c, false);
        }
    }

    /** The same as the first, but only on and above c's diagonal. */
    void multiplyUpper(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        tiles(alpha, a, transposeA, b, transposeB, null, beta, c, true);
    }

    /** Several linears of the same inputs. */
    void linears(List<Product> products, Tensor x) {
        if (few.takes(products, x)) {
            few.run(products, x, 0);
        } else {
            products.forEach(each -> linear(x, each.w(), each.bias(), 0, each.y()));
        }
    }

    /** c = a b^T + bias + beta c: a and b of one dtype, F32, F16 or BF16, or a F32 and b any; bias [1, n] or null. */
    void linear(Tensor a, Tensor b, @Nullable Tensor bias, float beta, Tensor c) {
        if (a.dtype() == b.dtype()) {
            ofOneDtype(a, b, bias, beta, c);
        } else if (SplitLinear.takes(context, a, c)) {
            new SplitLinear(context).run(a, b, beta, c);
            add(bias, c);
        } else {
            try (TensorArena arena = context.arena()) {
                ofOneDtype(a, Conversion.widened(context, b, arena), bias, beta, c);
            }
        }
    }

    private void add(@Nullable Tensor bias, Tensor c) {
        if (bias != null) {
            Extent extent = Extent.byRows(c);
            context.kernel("elementwise", "add_to").launch(extent.blocks(), THREADS, 0, c, c.stride(), bias, 0L,
                    extent.columns());
        }
    }

    private void ofOneDtype(Tensor a, Tensor b, @Nullable Tensor bias, float beta, Tensor c) {
        GpuBlas blas = context.blas();
        boolean sums = a.elements() > 0 && c.elements() > 0;
        boolean trusted = a.dtype() == DType.F32 || context.trustsProducts(a.dtype());
        List<Product> alone = List.of(new Product(b, bias, c));
        if (few.takes(alone, a)) {
            few.run(alone, a, beta);
        } else if (blas != null && sums && trusted) {
            blas.gemm(1f, a, false, b, true, beta, c);
            add(bias, c);
        } else if (a.dtype() == DType.F32) {
            tiles(1f, a, false, b, true, bias, beta, c, false);
        } else {
            context.kernel("gemm", a.dtype() == DType.F16 ? "linear_f16" : "linear_bf16").launchGrid(
                    Math.ceilDiv(c.columns(), TILE), Math.ceilDiv(c.rows(), TILE), 1, THREADS, 0,
                    Math.toIntExact(c.rows()), Math.toIntExact(c.columns()), Math.toIntExact(a.columns()), a,
                    a.stride(), b, b.stride(), bias, beta, c, c.stride());
        }
    }

    private void tiles(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, @Nullable Tensor bias,
            float beta, Tensor c, boolean upper) {
        String form = (transposeA ? "t" : "n") + (transposeB ? "t" : "n");
        long inner = transposeA ? a.rows() : a.columns();
        context.kernel("gemm", "gemm_" + form).launchGrid(Math.ceilDiv(c.columns(), TILE), Math.ceilDiv(c.rows(), TILE),
                1,
                THREADS, 0, Math.toIntExact(c.rows()), Math.toIntExact(c.columns()), Math.toIntExact(inner), alpha, a,
                a.stride(), b, b.stride(), bias, beta, c, c.stride(), upper ? 1 : 0);
    }
}
