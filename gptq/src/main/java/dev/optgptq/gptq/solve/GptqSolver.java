package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps.BlockProblem;
import org.jspecify.annotations.Nullable;

/**
 * GPTQ (Frantar et al. 2023, algorithm 1): inputs are quantized in order, and the error of rounding one is compensated
 * by the inputs after it, as given by the inverse Hessian. n inputs, m outputs; wt is W^T, [n, m].
 */
final class GptqSolver {

    /** Inputs whose errors are applied at once to the trailing weights (the paper's B). */
    static final int BLOCK = 128;

    private final Device device;
    private final Grid grid;
    private final boolean searchScales;

    /**
     * @param searchScales whether each group's scale is searched beforehand, weighted by the Hessian's diagonal;
     *     otherwise it covers the group's range, as published
     */
    GptqSolver(Device device, Grid grid, boolean searchScales) {
        this.device = device;
        this.grid = grid;
        this.searchScales = searchScales;
    }

    /**
     * @param arena owns the result
     * @param wt F32 [n, m]; not written
     * @param rounded F32 [n, m], written: the weights before rounding; null if not needed
     */
    QuantizedWeight solve(TensorArena arena, Tensor wt, InverseFactor factor, @Nullable Tensor rounded) {
        InputOrder order = factor.order();
        int n = order.inputs();
        long m = wt.columns();
        Tensor scales = arena.matrix(DType.F32, order.groups(), m);
        Tensor zeros = arena.matrix(DType.I32, order.groups(), m);
        Tensor codes = arena.matrix(DType.U8, n, m);
        try (TensorArena scratch = device.arena()) {
            Tensor w = scratch.matrix(DType.F32, n, m);
            device.matrix().gatherRows(wt, HostVectors.upload(device, scratch, order.order()), w);
            boolean fitFirst = searchScales || !order.runs();
            if (fitFirst) {
                fitBefore(scratch, order.runs() ? w : wt, factor, scales, zeros);
            }
            Tensor orderedCodes = order.isIdentity() ? codes : scratch.matrix(DType.U8, n, m);
            sweep(scratch, w, factor, !fitFirst, scales, zeros, orderedCodes);
            Tensor positions = HostVectors.upload(device, scratch, order.positions());
            if (!order.isIdentity()) {
                device.matrix().gatherRows(orderedCodes, positions, codes);
            }
            if (rounded != null) {
                device.matrix().gatherRows(w, positions, rounded);
            }
        }
        return new QuantizedWeight(codes, scales, zeros, HostVectors.upload(device, arena, order.gIdx()));
    }

    /** Chooses the scales of all groups from the current weights; rows of w in an order with contiguous groups. */
    private void fitBefore(TensorArena scratch, Tensor w, InverseFactor factor, Tensor scales, Tensor zeros) {
        if (!searchScales) {
            fitGroups(w, factor.order().groupSize(), scales, zeros);
            return;
        }
        Tensor importance = importance(scratch, factor);
        forGroups(w, factor.order().groupSize(), scales, zeros, (first, group, s, z) -> device.quant().searchScale(grid,
                group, importance.columns(first, group.rows()), s, z));
    }

    /** The Hessian's diagonal, F32 [1, n], in the order with contiguous groups. */
    private Tensor importance(TensorArena scratch, InverseFactor factor) {
        Tensor diagonal = scratch.vector(DType.F32, factor.order().inputs());
        device.matrix().diagonal(factor.hessian(), diagonal);
        if (!factor.order().runs()) {
            return diagonal;
        }
        float[] energy = HostVectors.floats(device, diagonal);
        float[] ordered = new float[energy.length];
        for (int k = 0; k < energy.length; k++) {
            ordered[k] = energy[factor.order().order()[k]];
        }
        return HostVectors.upload(device, scratch, ordered);
    }

    /** Fits every group of neighbouring inputs from the current weights. */
    void fitGroups(Tensor wt, int groupSize, Tensor scales, Tensor zeros) {
        forGroups(wt, groupSize, scales, zeros, (first, group, s, z) -> device.quant().fitGrid(grid, group, s, z));
    }

    /** Chooses the scales [1, m] and zeros [1, m] of a group of weights, whose first row is {@code first}. */
    private interface GroupFit {
        void run(long first, Tensor group, Tensor scales, Tensor zeros);
    }

    private static void forGroups(Tensor wt, int groupSize, Tensor scales, Tensor zeros, GroupFit fit) {
        for (int g = 0; g < scales.rows(); g++) {
            long first = (long) g * groupSize;
            fit.run(first, wt.rows(first, Math.min(groupSize, wt.rows() - first)), scales.rows(g, 1), zeros.rows(g, 1));
        }
    }

    /** Blocks never cross a group's end: several whole groups of at most BLOCK inputs, or parts of one larger group. */
    private void sweep(TensorArena scratch, Tensor w, InverseFactor factor, boolean dynamic, Tensor scales,
            Tensor zeros, Tensor codes) {
        InputOrder order = factor.order();
        int n = order.inputs();
        int groupSize = order.groupSize();
        boolean fitInside = dynamic && groupSize <= BLOCK;
        int span = !dynamic ? BLOCK : fitInside ? BLOCK / groupSize * groupSize : groupSize;
        int blockSize = Math.min(span, BLOCK);
        Tensor errors = scratch.matrix(DType.F32, Math.min(blockSize, n), w.columns());
        // All in one upload, since it waits for the device.
        Tensor groupOf = HostVectors.upload(device, scratch,
                fitInside ? groupsInBlocks(order, blockSize) : order.groupOf());
        for (int start = 0; start < n;) {
            int spanEnd = Math.min(n, start - start % span + span);
            int size = Math.min(blockSize, spanEnd - start);
            if (dynamic && !fitInside && start % groupSize == 0) {
                int group = start / groupSize;
                device.quant().fitGrid(grid, w.rows(start, spanEnd - start), scales.rows(group, 1),
                        zeros.rows(group, 1));
            }
            Tensor blockErrors = errors.rows(0, size);
            solveBlock(w.rows(start, size), factor, groupOf.columns(start, size), start, fitInside ? groupSize : 0,
                    scales, zeros, codes.rows(start, size), blockErrors);
            applyToTrailing(w, factor.u(), start, size, blockErrors);
            start += size;
        }
    }

    /** The group of each ordered input, counted from the first one of its block; groups are contiguous. */
    private static int[] groupsInBlocks(InputOrder order, int blockSize) {
        int[] groups = order.groupOf().clone();
        for (int i = 0; i < groups.length; i++) {
            groups[i] -= order.groupOf()[i - i % blockSize];
        }
        return groups;
    }

    private void solveBlock(Tensor w, InverseFactor factor, Tensor groupOf, int start, int fitEvery, Tensor scales,
            Tensor zeros, Tensor codes, Tensor errors) {
        int size = Math.toIntExact(w.rows());
        int firstGroup = fitEvery > 0 ? start / fitEvery : 0;
        int groups = fitEvery > 0 ? Math.ceilDiv(size, fitEvery) : Math.toIntExact(scales.rows());
        device.quant().solveBlock(new BlockProblem(grid, w, factor.u().rows(start, size).columns(start, size),
                scales.rows(firstGroup, groups), zeros.rows(firstGroup, groups),
                groupOf, fitEvery, codes, errors));
    }

    /** w[end:] -= u[block, end:]^T errors: the lazy update of all later inputs, one GEMM. */
    private void applyToTrailing(Tensor w, Tensor u, int start, int size, Tensor errors) {
        long end = (long) start + size;
        long trailing = w.rows() - end;
        if (trailing > 0) {
            device.matrix().gemm(-1, u.rows(start, size).columns(end, trailing), true, errors, false, 1,
                    w.rows(end, trailing));
        }
    }
}
