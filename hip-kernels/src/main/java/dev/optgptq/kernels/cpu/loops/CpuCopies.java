package dev.optgptq.kernels.cpu.loops;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** Whole rows moved as they are, whatever their dtype. */
public final class CpuCopies {

    private CpuCopies() {}

    public static void copy(Parallel parallel, Tensor source, Tensor target) {
        long bytes = source.columns() * source.dtype().bytes();
        Rows.forEach(parallel, source, row -> MemorySegment.copy(source.memory(), Memory.row(source, row),
                target.memory(), Memory.row(target, row), bytes));
    }

    /** Every row of target becomes the one row of source. */
    public static void repeat(Parallel parallel, Tensor source, Tensor target) {
        long bytes = source.columns() * source.dtype().bytes();
        Rows.forEach(parallel, target, row -> MemorySegment.copy(source.memory(), 0, target.memory(),
                Memory.row(target, row), bytes));
    }

    public static void gatherRows(Parallel parallel, Tensor source, Tensor order, Tensor target) {
        int[] rows = checkedOrder(order, source.rows());
        long bytes = source.columns() * source.dtype().bytes();
        Rows.forEach(parallel, target, row -> MemorySegment.copy(source.memory(), Memory.row(source, rows[(int) row]),
                target.memory(), Memory.row(target, row), bytes));
    }

    /** The indices of an I32 row, each of them in [0, size). */
    public static int[] checkedOrder(Tensor order, long size) {
        int[] indices = new int[Math.toIntExact(order.columns())];
        MemorySegment.copy(order.memory(), Memory.INT, 0, indices, 0, indices.length);
        for (int index : indices) {
            Objects.checkIndex((long) index, size);
        }
        return indices;
    }
}
