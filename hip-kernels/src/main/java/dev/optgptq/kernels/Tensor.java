package dev.optgptq.kernels;

import dev.optgptq.formats.dtype.DType;
import java.lang.foreign.MemorySegment;

/**
 * A matrix in a device's memory: rows x columns, row-major, rows {@code stride} elements apart. A vector is a matrix of
 * one row. Views share the memory; it lives as long as the arena it came from.
 *
 * @param dtype element type
 * @param stride elements from one row to the next, at least columns
 * @param memory starts at element (0, 0) and ends with the last element; only the device may follow the address
 */
public record Tensor(DType dtype, long rows, long columns, long stride, MemorySegment memory) {

    public Tensor {
        if (rows < 0 || columns < 0 || stride < columns) {
            throw new IllegalArgumentException(
                    "bad layout: rows " + rows + ", columns " + columns + ", stride " + stride);
        }
        long needed = span(rows, columns, stride) * dtype.bytes();
        if (memory.byteSize() < needed) {
            throw new IllegalArgumentException("memory holds " + memory.byteSize() + " bytes, layout needs " + needed);
        }
    }

    /** A dense matrix over the memory. */
    public static Tensor dense(DType dtype, long rows, long columns, MemorySegment memory) {
        return new Tensor(dtype, rows, columns, columns, memory);
    }

    /** Rows [from, from + count), sharing memory. */
    public Tensor rows(long from, long count) {
        checkRange(from, count, rows);
        return view(from * stride, count, columns);
    }

    /** Columns [from, from + count), sharing memory. */
    public Tensor columns(long from, long count) {
        checkRange(from, count, columns);
        return view(from, rows, count);
    }

    public long elements() {
        return rows * columns;
    }

    /** Bytes of its elements, those between the rows of a view left out. */
    public long bytes() {
        return elements() * dtype.bytes();
    }

    public boolean isDense() {
        return stride == columns || rows <= 1;
    }

    private Tensor view(long offset, long newRows, long newColumns) {
        long bytes = span(newRows, newColumns, stride) * dtype.bytes();
        long start = bytes == 0 ? 0 : offset * dtype.bytes();
        return new Tensor(dtype, newRows, newColumns, stride, memory.asSlice(start, bytes));
    }

    private static long span(long rows, long columns, long stride) {
        return rows == 0 || columns == 0 ? 0 : Math.addExact(Math.multiplyExact(rows - 1, stride), columns);
    }

    private static void checkRange(long from, long count, long size) {
        if (from < 0 || count < 0 || from > size - count) {
            throw new IndexOutOfBoundsException("[" + from + ", +" + count + ") of " + size);
        }
    }

    @Override
    public String toString() {
        return dtype + "[" + rows + ", " + columns + (isDense() ? "]" : "; stride " + stride + "]");
    }
}
