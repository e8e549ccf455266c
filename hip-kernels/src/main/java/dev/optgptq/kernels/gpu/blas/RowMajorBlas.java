package dev.optgptq.kernels.gpu.blas;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Row-major matmuls by column-major libraries: the memory of a row-major C is a column-major C^T, and C^T = op(B)^T
 * op(A)^T, so the operands change places and nothing is transposed.
 */
final class RowMajorBlas implements GpuBlas {

    private final GpuContext context;
    private final GemmLibrary library;
    private final MemorySegment alphaBeta = Arena.ofAuto().allocate(JAVA_DOUBLE, 2);

    RowMajorBlas(GpuContext context, GemmLibrary library) {
        this.context = context;
        this.library = library;
    }

    @Override
    public String description() {
        return library.description();
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        requireProduct(a, b, c);
        if (c.elements() > 0) {
            library.gemm(call(alpha, a, transposeA, b, transposeB, beta, c));
        }
    }

    @Override
    public void gemm64(double alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, double beta,
            Tensor c) {
        if (a.dtype() != DType.F64 || b.dtype() != DType.F64 || c.dtype() != DType.F64) {
            throw new IllegalArgumentException("no float64 matmul of " + a + " and " + b + " into " + c);
        }
        if (c.elements() > 0) {
            alphaBeta.setAtIndex(JAVA_DOUBLE, 0, alpha);
            alphaBeta.setAtIndex(JAVA_DOUBLE, 1, beta);
            library.gemm(call(a, transposeA, b, transposeB, c));
        }
    }

    @Override
    public void gemmStrided(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta,
            Tensor c, Batch batch) {
        requireProduct(a, b, c);
        if (c.elements() > 0 && batch.count() > 0) {
            library.gemmStrided(call(alpha, a, transposeA, b, transposeB, beta, c),
                    new Batch(batch.count(), batch.strideB(), batch.strideA(), batch.strideC()));
        }
    }

    private static void requireProduct(Tensor a, Tensor b, Tensor c) {
        DType input = a.dtype();
        boolean known = input == DType.F32 || input == DType.F16 || input == DType.BF16;
        if (!known || b.dtype() != input || c.dtype() != DType.F32) {
            throw new IllegalArgumentException("no matmul of " + a + " and " + b + " into " + c);
        }
    }

    private GemmLibrary.Call call(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta,
            Tensor c) {
        alphaBeta.setAtIndex(JAVA_FLOAT, 0, alpha);
        alphaBeta.setAtIndex(JAVA_FLOAT, 1, beta);
        return call(a, transposeA, b, transposeB, c);
    }

    private GemmLibrary.Call call(Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor c) {
        int inner = Math.toIntExact(transposeA ? a.rows() : a.columns());
        context.activate();
        context.issued("a matmul by " + library.description());
        return new GemmLibrary.Call(transposeB, transposeA, Math.toIntExact(c.columns()),
                Math.toIntExact(c.rows()), inner, alphaBeta, a.dtype(), context.address(b), leading(b),
                context.address(a),
                leading(a), context.address(c), leading(c));
    }

    /** The libraries want at least 1, also for a matrix without columns. */
    private static int leading(Tensor tensor) {
        return Math.max(1, Math.toIntExact(tensor.stride()));
    }

    @Override
    public void close() {
        context.activate();
        library.close();
    }
}
