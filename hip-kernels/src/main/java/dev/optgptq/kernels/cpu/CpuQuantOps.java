package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Grid;
import dev.optgptq.kernels.QuantOps;
import dev.optgptq.kernels.Tensor;

/** QuantOps. */
final class CpuQuantOps implements QuantOps {

    CpuQuantOps(Parallel parallel) {}

    @Override
    public void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void packCodes(int bits, Tensor codes, Tensor qweight) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void solveBlock(BlockProblem problem) {
        throw new UnsupportedOperationException("not written yet");
    }
}
