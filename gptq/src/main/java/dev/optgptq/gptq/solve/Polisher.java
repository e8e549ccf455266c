package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Grid;
import dev.optgptq.kernels.QuantOps.DescentProblem;
import dev.optgptq.kernels.QuantOps.RefitProblem;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * Lowers what a solution leaves of the objective that it was solved for: per output (q - w)^T H (q - w), H the damped Hessian
 * (notes 3.11 F). Two ways, of which neither ever raises it: the scales of the groups go to the best for their codes, and
 * codes go to the best for their scales, one input after the other. n inputs, m outputs.
 *
 * <p>
 * Both go through the inputs in blocks. What a block needs of all the others is its rows of H (q - w): one GEMM from the
 * errors as they are, so that roundings do not add up from block to block.
 *
 * <p>
 * The scales of an output have a joint minimum in closed form, s = (A^T H A)^-1 A^T H w with the codes of each group in a
 * column of A. Here it is reached group by group, each in closed form with all others as they are (Gauss-Seidel on those
 * normal equations). The joint solve needs a matrix [G, G] for every output, 6.6 GB at 448 groups and 8192 outputs, and
 * then rounds all scales at once, which may raise the objective; here what rounding one scale to its stored type costs
 * is made up for by the groups after it, as GPTQ does with codes.
 */
final class Polisher {

    private static final int BLOCK = GptqSolver.BLOCK;
    /** The least outputs that are refitted at a time. */
    private static final long LEAST_PANEL = 64;

    private final Device device;
    private final Grid grid;
    /** In which groups are runs. */
    private final InputOrder order;
    private final Tensor hessian;

    /** @param arena owns what it keeps: the damped Hessian, ordered */
    Polisher(Device device, TensorArena arena, Grid grid, InverseFactor factor) {
        this.device = device;
        this.grid = grid;
        this.order = factor.order().ofGroups();
        this.hessian = factor.damped(device, arena, order);
    }

    /**
     * Bytes of a polished weight on the device at the peak, the weight it aims at and the result included, the damped
     * Hessian not: two F32 copies of the weight, two of its codes, and the rows of a block or of a group of few outputs.
     */
    static long bytes(long inputs, long outputs, long groups) {
        long groupSize = Math.ceilDiv(inputs, groups);
        long rows = Math.max(Math.min(BLOCK, inputs) * outputs, 3 * groupSize * panel(outputs, groupSize));
        return (2 * 4 + 2) * inputs * outputs + 4 * rows + (4 + 4) * groups * outputs;
    }

    /** @param wt F32 [n, m], what was aimed at; not written */
    void polish(Polish polish, Tensor wt, QuantizedWeight weight) {
        try (TensorArena scratch = device.arena()) {
            boolean inOrder = order.isIdentity();
            Tensor codes = inOrder ? weight.codes() : gather(scratch, weight.codes(), order.order());
            Tensor errors = errors(scratch, wt, weight, inOrder);
            if (polish.refitScales()) {
                refit(weight, codes, errors);
            }
            Tensor groupOf = HostVectors.upload(device, scratch, order.groupOf());
            for (int sweep = 0; sweep < polish.sweeps(); sweep++) {
                descend(groupOf, weight, codes, errors);
            }
            if (!inOrder) {
                device.matrix().gatherRows(codes, HostVectors.upload(device, scratch, order.positions()),
                        weight.codes());
            }
        }
    }

    private Tensor gather(TensorArena arena, Tensor source, int[] rows) {
        Tensor target = arena.matrix(source.dtype(), source.rows(), source.columns());
        device.matrix().gatherRows(source, HostVectors.upload(device, arena, rows), target);
        return target;
    }

    /** q - w, rows in this order. */
    private Tensor errors(TensorArena arena, Tensor wt, QuantizedWeight weight, boolean inOrder) {
        if (inOrder) {
            return errors(arena, wt, weight);
        }
        try (TensorArena scratch = device.arena()) {
            return gather(arena, errors(scratch, wt, weight), order.order());
        }
    }

    private Tensor errors(TensorArena arena, Tensor wt, QuantizedWeight weight) {
        Tensor q = arena.matrix(DType.F32, wt.rows(), wt.columns());
        device.quant().dequantize(weight.codes(), weight.scales(), weight.zeros(), weight.groupOf(), q);
        device.matrix().subtract(q, wt, q);
        return q;
    }

    private void descend(Tensor groupOf, QuantizedWeight weight, Tensor codes, Tensor errors) {
        int n = order.inputs();
        try (TensorArena scratch = device.arena()) {
            Tensor buffer = scratch.matrix(DType.F32, Math.min(BLOCK, n), codes.columns());
            for (int start = 0; start < n; start += BLOCK) {
                int size = Math.min(BLOCK, n - start);
                Tensor gradient = buffer.rows(0, size);
                device.matrix().gemm(1, hessian.rows(start, size), false, errors, false, 0, gradient);
                device.quant().descendCodes(new DescentProblem(grid, hessian.rows(start, size).columns(start, size),
                        gradient, weight.scales(), weight.zeros(), groupOf.columns(start, size),
                        codes.rows(start, size), errors.rows(start, size)));
            }
        }
    }

    /** By panels of outputs, few where groups are large, so that a group's rows take no more than a block's. */
    private void refit(QuantizedWeight weight, Tensor codes, Tensor errors) {
        long outputs = codes.columns();
        long width = panel(outputs, order.groupSize());
        for (long from = 0; from < outputs; from += width) {
            long count = Math.min(width, outputs - from);
            refitPanel(weight.scales().columns(from, count), weight.zeros().columns(from, count),
                    codes.columns(from, count), errors.columns(from, count));
        }
    }

    private static long panel(long outputs, long groupSize) {
        return Math.min(outputs, Math.max(LEAST_PANEL, outputs * BLOCK / Math.max(BLOCK, groupSize)));
    }

    private void refitPanel(Tensor scales, Tensor zeros, Tensor codes, Tensor errors) {
        try (TensorArena scratch = device.arena()) {
            Rows rows = Rows.of(device, scratch, order.groupSize(), codes.columns());
            for (int round = 0; round < Polish.REFIT_ROUNDS; round++) {
                for (int group = 0; group < scales.rows(); group++) {
                    int start = group * order.groupSize();
                    int size = Math.min(order.groupSize(), order.inputs() - start);
                    refitGroup(rows.first(size), hessian.rows(start, size), start, scales.rows(group, 1),
                            zeros.rows(group, 1), codes.rows(start, size), errors);
                }
            }
        }
    }

    /**
     * @param h the group's rows of the Hessian
     * @param start its first input
     * @param errors of all inputs
     */
    private void refitGroup(Rows rows, Tensor h, int start, Tensor scales, Tensor zeros, Tensor codes, Tensor errors) {
        long size = codes.rows();
        device.quant().dequantize(codes, rows.ones, zeros, rows.groupOf, rows.steps);
        device.matrix().gemm(1, h.columns(start, size), false, rows.steps, false, 0, rows.curvature);
        device.matrix().gemm(1, h, false, errors, false, 0, rows.gradient);
        device.quant().refitScales(new RefitProblem(grid, codes, zeros, rows.gradient, rows.curvature, scales,
                errors.rows(start, size)));
    }

    /**
     * What refitting a group needs for a panel of outputs.
     *
     * @param ones scales that make dequantized codes what they are in steps: code - zero
     * @param groupOf where all inputs use the one row of scales
     */
    private record Rows(Tensor ones, Tensor groupOf, Tensor steps, Tensor curvature, Tensor gradient) {

        static Rows of(Device device, TensorArena arena, int inputs, long outputs) {
            Tensor ones = arena.vector(DType.F32, outputs);
            Tensor groupOf = arena.vector(DType.I32, inputs);
            device.matrix().fill(ones, 1);
            device.matrix().fill(groupOf, 0);
            return new Rows(ones, groupOf, arena.matrix(DType.F32, inputs, outputs),
                    arena.matrix(DType.F32, inputs, outputs), arena.matrix(DType.F32, inputs, outputs));
        }

        Rows first(int inputs) {
            return new Rows(ones, groupOf.columns(0, inputs), steps.rows(0, inputs), curvature.rows(0, inputs),
                    gradient.rows(0, inputs));
        }
    }
}
