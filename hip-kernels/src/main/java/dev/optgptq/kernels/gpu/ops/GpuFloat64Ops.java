package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.Float64Ops;

/** Float64Ops on a GPU: matmuls by the vendor's library, or by the tiles of float64.hip where there is none. */
public final class GpuFloat64Ops implements Float64Ops {

    private static final int THREADS = Extent.THREADS;
    /** Edge of the tile of a block of the own matmul. */
    private static final long TILE = 64;
    /** Partial sums of dot; fixed, so that the sum has the same order on every device. */
    private static final long PARTS = 256;

    private final GpuContext context;
    private final GpuSystem system;

    public GpuFloat64Ops(GpuContext context) {
        this.context = context;
        this.system = new GpuSystem(context, this);
    }

    @Override
    public void multiply(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
            Tensor c) {
        GpuBlas blas = context.blas();
        if (blas != null && a.elements() > 0 && c.elements() > 0) {
            blas.gemm64(alpha, a, transposeA, b, transposeB, beta, c);
            return;
        }
        long inner = transposeA ? a.rows() : a.columns();
        context.kernel("float64", "gemm").launchGrid(Math.ceilDiv(c.columns(), TILE), Math.ceilDiv(c.rows(), TILE), 1,
                THREADS, 0, Math.toIntExact(c.rows()), Math.toIntExact(c.columns()), Math.toIntExact(inner), alpha, a,
                transposeA ? 1L : a.stride(), transposeA ? a.stride() : 1L, b, transposeB ? b.stride() : 1L,
                transposeB ? 1L : b.stride(), beta, c, c.stride());
    }

    @Override
    public void combine(double alpha, Tensor x, double beta, Tensor y) {
        Extent extent = Extent.of(x, y);
        context.kernel("float64", "combine").launch(extent.blocks(), THREADS, 0, alpha, x, Extent.code(x.dtype()),
                x.stride(), beta, y, y.stride(), extent.columns());
    }

    @Override
    public void innerProduct(Tensor a, Tensor b, Tensor result) {
        try (TensorArena arena = context.arena()) {
            Tensor partial = arena.vector(DType.F64, PARTS);
            context.kernel("float64", "dot_chunks").launch(PARTS, THREADS, 0, a, a.stride(), b, b.stride(), a.rows(),
                    a.columns(), partial);
            context.kernel("dot", "dot_total").launch(1, THREADS, 0, partial, (int) PARTS, result);
        }
    }

    @Override
    public boolean solve(Tensor a, Tensor b) {
        return system.solve(a, b);
    }
}
