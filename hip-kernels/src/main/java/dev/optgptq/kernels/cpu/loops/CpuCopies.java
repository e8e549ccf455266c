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

    /** Neighbours that stay neighbours, as the columns of a head do, move together. */
    public static void gatherColumns(Parallel parallel, Tensor source, Tensor order, Tensor target) {
        int[] columns = checkedOrder(order, source.columns());
        long bytes = source.dtype().bytes();
        Rows.forEach(parallel, target, row -> {
            long from = Memory.row(source, row);
            long to = Memory.row(target, row);
            for (int start = 0; start < columns.length;) {
                int end = start + 1;
                while (end < columns.length && columns[end] == columns[end - 1] + 1) {
                    end++;
                }
                MemorySegment.copy(source.memory(), from + columns[start] * bytes, target.memory(), to + start * bytes,
                        (end - start) * bytes);
                start = end;
            }
        });
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
