package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import java.util.List;
import java.util.Objects;

/**
 * The product of MatrixOps.quadratic on the matrix units, with float32's accuracy: of the nine products of the parts of two
 * float32 (Henry, Tang and Heinecke 2019, arXiv 1904.06376) the three smallest are below its last bit. Six matmuls of bfloat16 cost
 * half of one of float32 on NVIDIA's cards; on others, whose matrix units multiply float32 too, there is nothing to gain.
 */
record SplitQuadratic(GpuContext context) {

    /** Edge of what is multiplied at once: fills a large device, and bounds the memory of the parts. */
    private static final long EDGE = 2048;
    /** Inputs from which it pays. */
    private static final long LEAST = 1024;

    static boolean takes(GpuContext context, Tensor d) {
        return context.driver().api().equals("cuda") && d.rows() >= LEAST
                && context.trustsProducts(DType.BF16);
    }

    /** product so that tr(d^T h d) is the sum of d * product. */
    void multiply(Tensor h, Tensor d, Tensor product) {
        SplitParts parts = new SplitParts(context);
        long n = d.rows();
        for (long column = 0; column < d.columns(); column += EDGE) {
            long columns = Math.min(EDGE, d.columns() - column);
            try (TensorArena ofPanel = context.arena()) {
                List<Tensor> right = parts.of(d.columns(column, columns), SplitParts.OF_FLOAT32, ofPanel);
                for (long from = 0; from < n; from += EDGE) {
                    long rows = Math.min(EDGE, n - from);
                    Tensor strip = h.rows(from, rows).columns(from, n - from);
                    try (TensorArena ofStrip = context.arena()) {
                        multiply(parts.of(strip, SplitParts.OF_FLOAT32, ofStrip), right, from,
                                product.rows(from, rows).columns(column, columns));
                    }
                }
            }
        }
    }

    /**
     * The diagonal block once, what is right of it twice.
     *
     * @param left parts of a strip, from its diagonal block on
     * @param right parts of all rows of d
     */
    private void multiply(List<Tensor> left, List<Tensor> right, long from, Tensor product) {
        GpuBlas blas = Objects.requireNonNull(context.blas());
        long rows = product.rows();
        long beside = left.getFirst().columns() - rows;
        float kept = 0;
        // The smallest first: their sum does not drown in the largest.
        for (int sum = 2; sum <= 4; sum++) {
            for (int i = Math.max(0, sum - 2); i <= Math.min(2, sum); i++) {
                Tensor a = left.get(i);
                Tensor b = right.get(sum - i);
                blas.gemm(1, a.columns(0, rows), false, b.rows(from, rows), false, kept, product);
                kept = 1;
                if (beside > 0) {
                    blas.gemm(2, a.columns(rows, beside), false, b.rows(from + rows, beside), false, 1, product);
                }
            }
        }
    }
}
