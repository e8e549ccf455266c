package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call once for all devices, then passes it on. */
public final class CheckedQuantOps implements QuantOps {

    private final QuantOps ops;

    public CheckedQuantOps(QuantOps ops) {
        this.ops = ops;
    }

    @Override
    public void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        Arguments.f32("fitGrid", "wt", wt, wt.rows(), wt.columns());
        Arguments.f32("fitGrid", "scales", scales, 1, wt.columns());
        Arguments.shaped("fitGrid", "zeros", zeros, DType.I32, 1, wt.columns());
        ops.fitGrid(grid, wt, scales, zeros);
    }

    @Override
    public void searchScale(Grid grid, Tensor wt, Tensor importance, Tensor scales, Tensor zeros) {
        Arguments.f32("searchScale", "wt", wt, wt.rows(), wt.columns());
        Arguments.f32("searchScale", "importance", importance, 1, wt.rows());
        Arguments.f32("searchScale", "scales", scales, 1, wt.columns());
        Arguments.shaped("searchScale", "zeros", zeros, DType.I32, 1, wt.columns());
        ops.searchScale(grid, wt, importance, scales, zeros);
    }

    @Override
    public void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes) {
        Arguments.f32("quantize", "wt", wt, wt.rows(), wt.columns());
        Arguments.shaped("quantize", "codes", codes, DType.U8, wt.rows(), wt.columns());
        checkGrids("quantize", wt, scales, zeros, groupOf);
        ops.quantize(grid, wt, scales, zeros, groupOf, codes);
    }

    @Override
    public void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        Arguments.f32("dequantize", "out", out, out.rows(), out.columns());
        Arguments.shaped("dequantize", "codes", codes, DType.U8, out.rows(), out.columns());
        checkGrids("dequantize", out, scales, zeros, groupOf);
        ops.dequantize(codes, scales, zeros, groupOf, out);
    }

    @Override
    public void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out) {
        Arguments.f32("dequantizePacked", "out", out, out.rows(), out.columns());
        checkPacked("dequantizePacked", new PackedWeights(bits, zeroOffset, qweight, qzeros, scales, groupOf),
                out.rows(), out.columns());
        ops.dequantizePacked(bits, zeroOffset, qweight, qzeros, scales, groupOf, out);
    }

    @Override
    public void linearPacked(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        checkLinear(weights, x, bias, y);
        ops.linearPacked(weights, x, bias, beta, y);
    }

    @Override
    public void linearsPacked(List<PackedProduct> products, Tensor x) {
        products.forEach(each -> checkLinear(each.weights(), x, each.bias(), each.y()));
        ops.linearsPacked(products, x);
    }

    private static void checkLinear(PackedWeights weights, Tensor x, @Nullable Tensor bias, Tensor y) {
        if (x.dtype() != DType.F16 && x.dtype() != DType.BF16) {
            Arguments.f32("linearPacked", "x", x, x.rows(), x.columns());
        }
        Arguments.f32("linearPacked", "y", y, x.rows(), y.columns());
        if (bias != null) {
            Arguments.f32("linearPacked", "bias", bias, 1, y.columns());
        }
        if (weights.groupSize() < 0) {
            throw new IllegalArgumentException(
                    "linearPacked: groupSize: expected at least 0, found " + weights.groupSize());
        }
        checkPacked("linearPacked", weights, x.columns(), y.columns());
    }

    private static void checkPacked(String op, PackedWeights packed, long inputs, long outputs) {
        int bits = packed.bits();
        long groups = packed.scales().rows();
        checkPacking(op, bits, inputs);
        checkPacking(op, bits, outputs);
        Arguments.shaped(op, "qweight", packed.qweight(), DType.I32, inputs * bits / 32, outputs);
        Arguments.shaped(op, "scales", packed.scales(), DType.F16, groups, outputs);
        Arguments.shaped(op, "qzeros", packed.qzeros(), DType.I32, groups, outputs * bits / 32);
        Arguments.shaped(op, "groupOf", packed.groupOf(), DType.I32, 1, inputs);
    }

    @Override
    public void packCodes(int bits, Tensor codes, Tensor qweight) {
        checkPacking("packCodes", bits, codes.rows());
        Arguments.shaped("packCodes", "codes", codes, DType.U8, codes.rows(), codes.columns());
        Arguments.shaped("packCodes", "qweight", qweight, DType.I32, codes.rows() * bits / 32, codes.columns());
        ops.packCodes(bits, codes, qweight);
    }

    @Override
    public void checksum(Tensor codes, Tensor crc) {
        Arguments.shaped("checksum", "codes", codes, DType.U8, codes.rows(), codes.columns());
        Arguments.shaped("checksum", "crc", crc, DType.I32, 1, 1);
        ops.checksum(codes, crc);
    }

    @Override
    public void solveBlock(BlockProblem problem) {
        Tensor wt = problem.wt();
        Arguments.f32("solveBlock", "wt", wt, wt.rows(), wt.columns());
        Arguments.f32("solveBlock", "u", problem.u(), wt.rows(), wt.rows());
        Arguments.shaped("solveBlock", "codes", problem.codes(), DType.U8, wt.rows(), wt.columns());
        Arguments.f32("solveBlock", "errors", problem.errors(), wt.rows(), wt.columns());
        checkGrids("solveBlock", wt, problem.scales(), problem.zeros(), problem.groupOf());
        if (problem.fitEvery() < 0) {
            throw new IllegalArgumentException(
                    "solveBlock: fitEvery: expected at least 0, found " + problem.fitEvery());
        }
        if (problem.fitEvery() > 0 && problem.scales().rows() < Math.ceilDiv(wt.rows(), (long) problem.fitEvery())) {
            throw new IllegalArgumentException(
                    "solveBlock: scales: expected a row for each " + problem.fitEvery() + " of "
                            + wt.rows() + " inputs, found " + problem.scales());
        }
        ops.solveBlock(problem);
    }

    @Override
    public void descendCodes(DescentProblem problem) {
        Tensor errors = problem.errors();
        Arguments.f32("descendCodes", "errors", errors, errors.rows(), errors.columns());
        Arguments.f32("descendCodes", "h", problem.h(), errors.rows(), errors.rows());
        Arguments.f32("descendCodes", "gradient", problem.gradient(), errors.rows(), errors.columns());
        Arguments.shaped("descendCodes", "codes", problem.codes(), DType.U8, errors.rows(), errors.columns());
        checkGrids("descendCodes", errors, problem.scales(), problem.zeros(), problem.groupOf());
        if (errors.rows() > DESCENT_INPUTS) {
            throw new IllegalArgumentException(
                    "descendCodes: errors: expected at most " + DESCENT_INPUTS + " inputs, found " + errors);
        }
        ops.descendCodes(problem);
    }

    @Override
    public void groupSums(int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums) {
        if (groupSize < 1) {
            throw new IllegalArgumentException("groupSums: groupSize: expected at least 1, found " + groupSize);
        }
        long groups = Math.ceilDiv(codes.rows(), (long) groupSize);
        Arguments.shaped("groupSums", "codes", codes, DType.U8, codes.rows(), codes.columns());
        Arguments.shaped("groupSums", "zeros", zeros, DType.I32, groups, codes.columns());
        Arguments.f32("groupSums", "values", values, codes.rows(), codes.columns());
        Arguments.f32("groupSums", "sums", sums, groups, codes.columns());
        ops.groupSums(groupSize, codes, zeros, values, sums);
    }

    @Override
    public void refitScales(RefitProblem problem) {
        Tensor scales = problem.scales();
        Arguments.f32("refitScales", "scales", scales, scales.rows(), scales.columns());
        Arguments.f32("refitScales", "slope", problem.slope(), scales.rows(), scales.columns());
        Arguments.f32("refitScales", "normal", problem.normal(), Math.multiplyExact(scales.rows(), scales.rows()),
                scales.columns());
        ops.refitScales(problem);
    }

    private static void checkGrids(String op, Tensor like, Tensor scales, Tensor zeros, Tensor groupOf) {
        Arguments.f32(op, "scales", scales, scales.rows(), like.columns());
        Arguments.shaped(op, "zeros", zeros, DType.I32, scales.rows(), like.columns());
        Arguments.shaped(op, "groupOf", groupOf, DType.I32, 1, like.rows());
    }

    private static void checkPacking(String op, int bits, long size) {
        if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
            throw new IllegalArgumentException(op + ": bits: expected 2, 3, 4 or 8, found " + bits);
        }
        if (size % 32 != 0) {
            throw new IllegalArgumentException(op + ": packed sizes are multiples of 32, found " + size);
        }
    }
}
