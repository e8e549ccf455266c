package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.MatrixOps;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * MatrixOps on a GPU. Orders are read on the device, where nothing can be thrown: an index outside its range leaves its
 * target as it was.
 */
public final class GpuMatrixOps implements MatrixOps {

    private static final int THREADS = Extent.THREADS;
    /** Edge of the tiles of transpose and symmetrize. */
    private static final long TILE = 32;
    /** Partial sums of dot; fixed, so that the sum has the same order on every device. */
    private static final long PARTS = 256;
    /** Neighbours in fp16/bf16 that are loaded at once. */
    private static final long EIGHT = 8;

    private final GpuContext context;
    private final GpuGemm gemm;
    private final GpuGram gram;
    private final GpuInverseFactor inverseFactor;

    public GpuMatrixOps(GpuContext context) {
        this.context = context;
        this.gemm = new GpuGemm(context);
        this.gram = new GpuGram(context, gemm);
        this.inverseFactor = new GpuInverseFactor(context, gemm);
    }

    private Kernel kernel(String source, String function) {
        return context.kernel(source, function);
    }

    @Override
    public void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        gemm.linear(x, w, bias, beta, y);
    }

    @Override
    public void linears(List<Product> products, Tensor x) {
        gemm.linears(products, x);
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        gemm.multiply(alpha, a, transposeA, b, transposeB, beta, c);
    }

    @Override
    public void accumulateGram(float alpha, Tensor x, Tensor h) {
        gram.accumulate(alpha, x, h);
    }

    @Override
    public void symmetrize(Tensor h) {
        long tiles = Math.ceilDiv(h.rows(), TILE);
        kernel("move", "symmetrize").launchGrid(tiles, tiles, 1, THREADS, 0, h, h.stride(), h.rows());
    }

    @Override
    public void diagonal(Tensor h, Tensor out) {
        kernel("move", "diagonal").launch(Math.ceilDiv(h.rows(), THREADS), THREADS, 0, h, h.stride(), out, h.rows());
    }

    @Override
    public void setDiagonal(Tensor h, Tensor values) {
        kernel("move", "set_diagonal").launch(Math.ceilDiv(h.rows(), THREADS), THREADS, 0, h, h.stride(), values,
                h.rows());
    }

    @Override
    public boolean inverseFactor(Tensor h, Tensor u) {
        return inverseFactor.compute(h, u);
    }

    @Override
    public void transpose(Tensor source, Tensor target) {
        kernel("move", "transpose" + source.dtype().bytes()).launchGrid(Math.ceilDiv(source.columns(), TILE),
                Math.ceilDiv(source.rows(), TILE), 1, THREADS, 0, source, source.stride(), source.rows(),
                source.columns(), target, target.stride());
    }

    @Override
    public void gatherRows(Tensor source, Tensor order, Tensor target) {
        move(source, order, target, Extent.byRows(target));
    }

    @Override
    public void gatherColumns(Tensor source, Tensor order, Tensor target) {
        Extent extent = Extent.byRows(target);
        kernel("move", "gather_columns").launch(extent.blocks(), THREADS, 0, source, source.stride(), source.columns(),
                order, target, target.stride(), source.dtype().bytes(), extent.columns());
    }

    private void move(Tensor source, @Nullable Tensor order, Tensor target, Extent extent) {
        kernel("move", "gather_rows").launch(extent.blocks(), THREADS, 0, source, source.stride(), source.rows(),
                order, target, target.stride(), source.dtype().bytes(), extent.columns());
    }

    @Override
    public void gatherSymmetric(Tensor source, Tensor order, Tensor target) {
        Extent extent = Extent.byRows(target);
        kernel("move", "gather_symmetric").launch(extent.blocks(), THREADS, 0, source, source.stride(), order, target,
                target.stride(), extent.columns());
    }

    @Override
    public void dot(Tensor a, Tensor b, Tensor result) {
        try (TensorArena arena = context.arena()) {
            Tensor partial = arena.vector(DType.F64, PARTS);
            kernel("dot", "dot_chunks").launch(PARTS, THREADS, 0, a, a.stride(), b, b.stride(), a.rows(), a.columns(),
                    partial);
            kernel("dot", "dot_total").launch(1, THREADS, 0, partial, (int) PARTS, result);
        }
    }

    @Override
    public void quadratic(Tensor h, Tensor d, Tensor product, Tensor result) {
        if (!SplitQuadratic.takes(context, d)) {
            MatrixOps.super.quadratic(h, d, product, result);
            return;
        }
        new SplitQuadratic(context).multiply(h, d, product);
        dot(d, product, result);
    }

    @Override
    public void peak(Tensor x, Tensor peak) {
        Extent extent = Extent.of(x);
        if (x.dtype() != DType.F32 && extent.columns() % EIGHT == 0 && x.stride() % EIGHT == 0 && x.elements() > 0
                && context.address(x) % (EIGHT * x.dtype().bytes()) == 0) {
            Extent eights = new Extent(extent.rows(), extent.columns() / EIGHT);
            kernel("peak", "peak_eights").launch(eights.blocks(), THREADS, 0, x, Extent.code(x.dtype()),
                    x.stride() / EIGHT, eights.columns(), peak);
            return;
        }
        kernel("peak", "peak").launch(extent.blocks(), THREADS, 0, x, Extent.code(x.dtype()), x.stride(),
                extent.columns(), peak);
    }

    @Override
    public void subtract(Tensor a, Tensor b, Tensor target) {
        Extent extent = Extent.of(a, b, target);
        kernel("elementwise", "subtract").launch(extent.blocks(), THREADS, 0, a, a.stride(), b, b.stride(), target,
                target.stride(), extent.columns());
    }

    @Override
    public void fill(Tensor target, float value) {
        int kind = switch (target.dtype()) {
            case F64 -> 8;
            case I32 -> 0;
            default -> 4;
        };
        Extent extent = Extent.of(target);
        kernel("move", "fill").launch(extent.blocks(), THREADS, 0, target, target.stride(), kind, value,
                extent.columns());
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        move(source, null, target, Extent.of(source, target));
    }
}
