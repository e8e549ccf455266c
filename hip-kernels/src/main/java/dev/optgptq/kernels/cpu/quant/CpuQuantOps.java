package dev.optgptq.kernels.cpu.quant;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps;
import org.jspecify.annotations.Nullable;

/** QuantOps with neighbouring outputs in vector lanes and panels of outputs on all cores. */
public final class CpuQuantOps implements QuantOps {

    private final Parallel parallel;

    public CpuQuantOps(Parallel parallel) {
        this.parallel = parallel;
    }

    @Override
    public void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        CpuCodes.fitGrid(parallel, grid, wt, scales, zeros);
    }

    @Override
    public void searchScale(Grid grid, Tensor wt, Tensor importance, Tensor scales, Tensor zeros) {
        CpuCodes.searchScale(parallel, grid, wt, importance, scales, zeros);
    }

    @Override
    public void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes) {
        CpuCodes.quantize(parallel, grid, wt, scales, zeros, groupOf, codes);
    }

    @Override
    public void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        CpuCodes.dequantize(parallel, codes, scales, zeros, groupOf, out);
    }

    @Override
    public void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out) {
        CpuPacked.dequantize(parallel, new PackedWeights(bits, zeroOffset, qweight, qzeros, scales, groupOf), out);
    }

    @Override
    public void linearPacked(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        CpuPackedLinear.run(parallel, weights, x, bias, beta, y);
    }

    @Override
    public void checksum(Tensor codes, Tensor crc) {
        CpuCodes.checksum(codes, crc);
    }

    @Override
    public void packCodes(int bits, Tensor codes, Tensor qweight) {
        CpuPacked.pack(parallel, bits, codes, qweight);
    }

    @Override
    public void solveBlock(BlockProblem problem) {
        CpuSolveBlock.solve(parallel, problem);
    }

    @Override
    public void descendCodes(DescentProblem problem) {
        CpuDescent.codes(parallel, problem);
    }

    @Override
    public void groupSums(int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums) {
        CpuRefit.groupSums(parallel, groupSize, codes, zeros, values, sums);
    }

    @Override
    public void refitScales(RefitProblem problem) {
        CpuRefit.scales(parallel, problem);
    }
}
