package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/** What the copying and element-wise matrix ops do to a row or a range of rows. */
final class MatrixRows {

    /** Square that a transposition moves at a time: both sides fit in the first-level cache. */
    private static final int SQUARE = 32;

    private MatrixRows() {}

    static float get(Tensor tensor, long row, long column) {
        return tensor.memory().get(Memory.FLOAT, (row * tensor.stride() + column) * Float.BYTES);
    }

    static void set(Tensor tensor, long row, long column, float value) {
        tensor.memory().set(Memory.FLOAT, (row * tensor.stride() + column) * Float.BYTES, value);
    }

    /** An entry of an order, checked against what it points into. */
    static long index(Tensor order, long position, long size) {
        return Objects.checkIndex(order.memory().get(Memory.INT, position * Integer.BYTES), size);
    }

    static void add(Tensor row, Tensor other) {
        for (long column = 0; column < row.columns(); column++) {
            set(row, 0, column, get(row, 0, column) + get(other, 0, column));
        }
    }

    /** A row of any dtype. */
    static void copy(Tensor source, long sourceRow, Tensor target, long targetRow) {
        if (target.columns() > 0) {
            MemorySegment.copy(source.memory(), Memory.row(source, sourceRow), target.memory(),
                    Memory.row(target, targetRow), target.columns() * target.dtype().bytes());
        }
    }

    static double dot(Tensor a, Tensor b, long row) {
        double sum = 0;
        for (long column = 0; column < a.columns(); column++) {
            sum += (double) get(a, row, column) * get(b, row, column);
        }
        return sum;
    }

    static void fill(Tensor target, long row, float value) {
        long start = Memory.row(target, row);
        for (long column = 0; column < target.columns(); column++) {
            switch (target.dtype()) {
                case F64 -> target.memory().set(Memory.DOUBLE, start + column * Double.BYTES, value);
                case I32 -> target.memory().set(Memory.INT, start + column * Integer.BYTES, (int) value);
                default -> target.memory().set(Memory.FLOAT, start + column * Float.BYTES, value);
            }
        }
    }

    /** Swaps u[i, j] with u[k, n-1-j] for j below {@code count}, n being the number of columns. */
    static void swapReversed(Tensor u, long i, long k, long count) {
        long last = u.columns() - 1;
        for (long j = 0; j < count; j++) {
            float held = get(u, i, j);
            set(u, i, j, get(u, k, last - j));
            set(u, k, last - j, held);
        }
    }

    /** Rows [from, to) of target = source^T. */
    static void transpose(Tensor source, Tensor target, long from, long to) {
        for (long row = from; row < to; row += SQUARE) {
            for (long column = 0; column < target.columns(); column += SQUARE) {
                transposeSquare(source, target, row, Math.min(to, row + SQUARE), column,
                        Math.min(target.columns(), column + SQUARE));
            }
        }
    }

    private static void transposeSquare(Tensor source, Tensor target, long fromRow, long toRow, long fromColumn,
            long toColumn) {
        int bytes = source.dtype().bytes();
        MemorySegment in = source.memory();
        MemorySegment out = target.memory();
        for (long row = fromRow; row < toRow; row++) {
            for (long column = fromColumn; column < toColumn; column++) {
                long at = (column * source.stride() + row) * bytes;
                long to = (row * target.stride() + column) * bytes;
                switch (bytes) {
                    case 1 -> out.set(ValueLayout.JAVA_BYTE, to, in.get(ValueLayout.JAVA_BYTE, at));
                    case 2 -> out.set(Memory.SHORT, to, in.get(Memory.SHORT, at));
                    default -> out.set(Memory.INT, to, in.get(Memory.INT, at));
                }
            }
        }
    }
}
