package dev.optgptq.kernels.cpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.blas.DoubleBlas;
import dev.optgptq.kernels.blas.OpenBlas;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.MatrixOps;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * MatrixOps on all cores: OpenBLAS on tiles for matmuls and factorisations, oneDNN for those of bfloat16 where the CPU
 * gains from it, vectors and block copies for the rest.
 */
final class CpuMatrixOps implements MatrixOps {

    private final Parallel parallel;
    private final CpuGemm gemm;
    private final CpuGram gram;
    private final CpuBfloat16 bfloat16;
    private final CpuInverseFactor inverseFactor;
    private final Supplier<TensorArena> scratch;

    /** @param scratch arenas for working memory, counted as the device's */
    CpuMatrixOps(OpenBlas blas, DoubleBlas doubles, CpuBfloat16 bfloat16, Parallel parallel,
            Supplier<TensorArena> scratch) {
        this.parallel = parallel;
        this.scratch = scratch;
        this.bfloat16 = bfloat16;
        this.gemm = new CpuGemm(blas, doubles, parallel);
        this.gram = new CpuGram(blas, parallel);
        this.inverseFactor = new CpuInverseFactor(blas, parallel, scratch);
    }

    @Override
    public void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        if (w.dtype() == DType.F32) {
            gemm.linear(x, w, bias, beta, y);
            return;
        }
        if (CpuStoredRows.takes(x, w)) {
            CpuStoredRows.linear(parallel, x, w, bias, beta, y);
            return;
        }
        if (bfloat16.takesLinear(x, w)) {
            bfloat16.linear(x, w, bias, beta, y);
            return;
        }
        try (TensorArena arena = scratch.get()) {
            gemm.linear(x.dtype() == DType.F32 ? x : widened(x, arena), widened(w, arena), bias, beta, y);
        }
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        if (a.dtype() == DType.F32) {
            gemm.gemm(alpha, a, transposeA, b, transposeB, beta, c);
            return;
        }
        try (TensorArena arena = scratch.get()) {
            gemm.gemm(alpha, widened(a, arena), transposeA, widened(b, arena), transposeB, beta, c);
        }
    }

    @Override
    public void accumulateGram(float alpha, Tensor x, Tensor h) {
        if (x.dtype() == DType.F32) {
            gram.accumulate(alpha, x, h);
            return;
        }
        if (bfloat16.takesGram(x)) {
            bfloat16.accumulateGram(alpha, x, h);
            return;
        }
        try (TensorArena arena = scratch.get()) {
            gram.accumulate(alpha, widened(x, arena), h);
        }
    }

    private Tensor widened(Tensor halves, TensorArena arena) {
        Tensor widened = arena.matrix(DType.F32, halves.rows(), halves.columns());
        CpuConversions.convert(parallel, halves, widened);
        return widened;
    }

    @Override
    public void symmetrize(Tensor h) {
        CpuTranspose.symmetrize(parallel, h);
    }

    @Override
    public void diagonal(Tensor h, Tensor out) {
        for (long i = 0; i < h.rows(); i++) {
            out.memory().set(Memory.FLOAT, 4 * i, h.memory().get(Memory.FLOAT, Memory.row(h, i) + 4 * i));
        }
    }

    @Override
    public void setDiagonal(Tensor h, Tensor values) {
        for (long i = 0; i < h.rows(); i++) {
            h.memory().set(Memory.FLOAT, Memory.row(h, i) + 4 * i, values.memory().get(Memory.FLOAT, 4 * i));
        }
    }

    @Override
    public boolean inverseFactor(Tensor h, Tensor u) {
        return inverseFactor.compute(h, u);
    }

    @Override
    public void transpose(Tensor source, Tensor target) {
        CpuTranspose.transpose(parallel, source, target);
    }

    @Override
    public void gatherRows(Tensor source, Tensor order, Tensor target) {
        CpuCopies.gatherRows(parallel, source, order, target);
    }

    @Override
    public void gatherColumns(Tensor source, Tensor order, Tensor target) {
        CpuCopies.gatherColumns(parallel, source, order, target);
    }

    @Override
    public void gatherSymmetric(Tensor source, Tensor order, Tensor target) {
        Squares.gather(parallel, source, order, target);
    }

    @Override
    public void dot(Tensor a, Tensor b, Tensor result) {
        CpuReductions.dot(parallel, a, b, result);
    }

    @Override
    public void peak(Tensor x, Tensor peak) {
        CpuPeak.run(parallel, x, peak);
    }

    @Override
    public void subtract(Tensor a, Tensor b, Tensor target) {
        CpuElementwise.subtract(parallel, a, b, target);
    }

    @Override
    public void fill(Tensor target, float value) {
        if (target.elements() == 0) {
            return;
        }
        Tensor first = target.rows(0, 1);
        for (long column = 0; column < target.columns(); column++) {
            switch (target.dtype()) {
                case F64 -> first.memory().set(Memory.DOUBLE, 8 * column, value);
                case I32 -> first.memory().set(Memory.INT, 4 * column, (int) value);
                default -> first.memory().set(Memory.FLOAT, 4 * column, value);
            }
        }
        CpuCopies.repeat(parallel, first, target.rows(1, target.rows() - 1));
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        CpuCopies.copy(parallel, source, target);
    }
}
