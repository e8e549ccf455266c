package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * QuantOps on a GPU, with the bits of the reference. Groups are read on the device unchecked, and bits of a code above
 * the grid's are cut off: nothing can be thrown there.
 */
public final class GpuQuantOps implements QuantOps {

    private static final int THREADS = Extent.THREADS;
    /** Outputs of a block of fit_grid and of search_scale. */
    private static final long FIT_OUTPUTS = 16;
    /** Outputs of a block of solve_block and of descend_codes, and the most inputs that solve_block takes. */
    private static final long SOLVE_OUTPUTS = 32;
    private static final long SOLVE_INPUTS = 128;
    /** Outputs of a block of refit_scales, each a thread. */
    private static final int REFIT_OUTPUTS = 64;
    /** Codes that fill whole words, whatever their bits. */
    private static final long PACKED = 32;

    private final GpuContext context;
    private final GpuPackedLinear packedLinear;

    public GpuQuantOps(GpuContext context) {
        this.context = context;
        this.packedLinear = new GpuPackedLinear(context);
    }

    private Kernel kernel(String source, String function) {
        return context.kernel(source, function);
    }

    private static int flag(boolean value) {
        return value ? 1 : 0;
    }

    @Override
    public void fitGrid(Grid grid, Tensor wt, Tensor scales, Tensor zeros) {
        kernel("fit_grid", "fit_grid").launch(Math.ceilDiv(wt.columns(), FIT_OUTPUTS), THREADS, 0, grid.bits(),
                flag(grid.symmetric()), flag(grid.clipSearch()), Extent.code(grid.scaleType()),
                flag(grid.positiveScales()), wt, wt.stride(),
                Math.toIntExact(wt.rows()), scales, zeros, wt.columns());
    }

    @Override
    public void searchScale(Grid grid, Tensor wt, Tensor importance, Tensor scales, Tensor zeros) {
        kernel("search_scale", "search_scale").launch(Math.ceilDiv(wt.columns(), FIT_OUTPUTS), THREADS, 0, grid.bits(),
                flag(grid.symmetric()), Extent.code(grid.scaleType()), flag(grid.positiveScales()), wt, wt.stride(),
                Math.toIntExact(wt.rows()),
                importance, scales, zeros, wt.columns());
    }

    @Override
    public void quantize(Grid grid, Tensor wt, Tensor scales, Tensor zeros, Tensor groupOf, Tensor codes) {
        Extent extent = Extent.byRows(wt);
        kernel("codes", "quantize").launch(extent.blocks(), THREADS, 0, wt, wt.stride(), scales, scales.stride(),
                zeros, zeros.stride(), groupOf, grid.maxCode(), codes, codes.stride(), extent.columns());
    }

    @Override
    public void dequantize(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf, Tensor out) {
        Extent extent = Extent.byRows(out);
        kernel("codes", "dequantize").launch(extent.blocks(), THREADS, 0, codes, codes.stride(), scales,
                scales.stride(), zeros, zeros.stride(), groupOf, out, out.stride(), extent.columns());
    }

    @Override
    public void dequantizePacked(int bits, int zeroOffset, Tensor qweight, Tensor qzeros, Tensor scales, Tensor groupOf,
            Tensor out) {
        Extent extent = new Extent(out.rows() / PACKED, out.columns());
        kernel("packed", "dequantize_packed").launch(extent.blocks(), THREADS, 0, bits, zeroOffset, qweight,
                qweight.stride(), qzeros, qzeros.stride(), scales, scales.stride(), groupOf, out.rows(),
                out.columns(), out, out.stride());
    }

    @Override
    public void linearPacked(PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        packedLinear.run(weights, x, bias, beta, y);
    }

    @Override
    public void linearsPacked(List<PackedProduct> products, Tensor x) {
        packedLinear.run(products, x);
    }

    @Override
    public void checksum(Tensor codes, Tensor crc) {
        new GpuChecksum(context).run(codes, crc);
    }

    @Override
    public void packCodes(int bits, Tensor codes, Tensor qweight) {
        Extent extent = new Extent(codes.rows() / PACKED, codes.columns());
        kernel("packed", "pack_codes").launch(extent.blocks(), THREADS, 0, bits, codes, codes.stride(), qweight,
                qweight.stride(), extent.columns());
    }

    /** In parts of at most 128 inputs that share a grid to be fitted, if any: one launch for the usual block. */
    @Override
    public void solveBlock(BlockProblem p) {
        long inputs = p.wt().rows();
        int fitEvery = p.fitEvery();
        long from = 0;
        while (from < inputs) {
            long to = Math.min(inputs, from + SOLVE_INPUTS);
            if (fitEvery == 0) {
                solvePart(p, from, to, p.groupOf().columns(from, to - from), p.scales(), p.zeros());
            } else {
                long group = from / fitEvery;
                long end = Math.min(inputs, (group + 1) * fitEvery);
                Tensor scales = p.scales().rows(group, 1);
                Tensor zeros = p.zeros().rows(group, 1);
                if (from % fitEvery == 0) {
                    fitGrid(p.grid(), p.wt().rows(from, end - from), scales, zeros);
                }
                to = Math.min(to, end);
                solvePart(p, from, to, null, scales, zeros);
            }
            from = to;
        }
    }

    /** @param groups of the part's inputs, or null where all use the first row of scales */
    private void solvePart(BlockProblem p, long from, long to, @Nullable Tensor groups, Tensor scales, Tensor zeros) {
        long solved = to - from;
        long outputs = p.wt().columns();
        Tensor wt = p.wt().rows(from, solved);
        Tensor u = p.u().rows(from, solved);
        Tensor pivots = u.columns(from, solved);
        Tensor codes = p.codes().rows(from, solved);
        Tensor errors = p.errors().rows(from, solved);
        kernel("solve_block", "solve_block").launch(Math.ceilDiv(outputs, SOLVE_OUTPUTS), THREADS, 0,
                p.grid().maxCode(), wt, wt.stride(), pivots, pivots.stride(), scales, scales.stride(), zeros,
                zeros.stride(), groups, (int) solved, codes, codes.stride(), errors, errors.stride(), outputs);
        long left = p.wt().rows() - to;
        if (left > 0) {
            Tensor later = p.wt().rows(to, left);
            Tensor beside = u.columns(to, left);
            kernel("solve_block", "solve_update").launch(new Extent(left, outputs).blocks(), THREADS, 0, later,
                    later.stride(), beside, beside.stride(), errors, errors.stride(), (int) solved, outputs);
        }
    }

    @Override
    public void descendCodes(DescentProblem p) {
        Tensor codes = p.codes();
        long outputs = codes.columns();
        kernel("descend_codes", "descend_codes").launch(Math.ceilDiv(outputs, SOLVE_OUTPUTS), THREADS, 0,
                p.grid().maxCode(), p.h(), p.h().stride(), p.gradient(), p.gradient().stride(), p.scales(),
                p.scales().stride(), p.zeros(), p.zeros().stride(), p.groupOf(), Math.toIntExact(codes.rows()), codes,
                codes.stride(), p.errors(), p.errors().stride(), outputs);
    }

    @Override
    public void groupSums(int groupSize, Tensor codes, Tensor zeros, Tensor values, Tensor sums) {
        Extent extent = Extent.byRows(sums);
        kernel("refit_scales", "group_sums").launch(extent.blocks(), THREADS, 0, groupSize, codes, codes.stride(),
                zeros, zeros.stride(), values, values.stride(), codes.rows(), sums, sums.stride(), extent.columns());
    }

    @Override
    public void refitScales(RefitProblem p) {
        Tensor scales = p.scales();
        kernel("refit_scales", "refit_scales").launch(Math.ceilDiv(scales.columns(), REFIT_OUTPUTS), REFIT_OUTPUTS, 0,
                Extent.code(p.grid().scaleType()), flag(p.grid().positiveScales()), p.normal(), p.normal().stride(),
                p.slope(), p.slope().stride(),
                scales, scales.stride(), Math.toIntExact(scales.rows()), scales.columns());
    }
}
