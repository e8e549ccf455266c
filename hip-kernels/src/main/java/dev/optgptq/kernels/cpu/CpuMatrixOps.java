package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.MatrixOps;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** MatrixOps. */
final class CpuMatrixOps implements MatrixOps {

    @Override
    public void linear(Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void gemm(float alpha, Tensor a, boolean transposeA, Tensor b, boolean transposeB, float beta, Tensor c) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void accumulateGram(float alpha, Tensor x, Tensor h) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void symmetrize(Tensor h) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void diagonal(Tensor h, Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void setDiagonal(Tensor h, Tensor values) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public boolean inverseFactor(Tensor h, Tensor u) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void transpose(Tensor source, Tensor target) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void gatherRows(Tensor source, Tensor order, Tensor target) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void gatherSymmetric(Tensor source, Tensor order, Tensor target) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void dot(Tensor a, Tensor b, Tensor result) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void subtract(Tensor a, Tensor b, Tensor target) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void fill(Tensor target, float value) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        throw new UnsupportedOperationException("not written yet");
    }
}
