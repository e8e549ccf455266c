package dev.optgptq.gptq.convert.layout;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** What all positions have in common, moved to where tokens come from. */
final class FoldedRows {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
    private static final ValueLayout.OfShort HALF = ValueLayout.JAVA_SHORT_UNALIGNED;

    private FoldedRows() {}

    /**
     * The rows of a table plus the mean of another's rows.
     *
     * @param table [rows, columns], any float dtype
     * @param added [n, columns]
     * @return in the table's dtype; the arena owns it
     */
    static MemorySegment plusMean(TensorView table, TensorView added, Arena arena) {
        int columns = Math.toIntExact(table.shape().dimension(1));
        double[] mean = new double[columns];
        long rows = added.shape().dimension(0);
        for (long row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                mean[column] += at(added, row * columns + column) / rows;
            }
        }
        MemorySegment sums = arena.allocate(table.data().byteSize(), Double.BYTES);
        for (long i = 0; i < table.shape().elements(); i++) {
            set(sums, table.dtype(), i, at(table, i) + mean[(int) (i % columns)]);
        }
        return sums;
    }

    private static double at(TensorView view, long i) {
        MemorySegment data = view.data();
        return switch (view.dtype()) {
            case F16 -> Floats.fromF16(data.get(HALF, 2 * i));
            case BF16 -> Floats.fromBF16(data.get(HALF, 2 * i));
            case F32 -> data.get(FLOAT, 4 * i);
            case F64 -> data.get(DOUBLE, 8 * i);
            default -> throw new IllegalArgumentException(view.name() + " in " + view.dtype());
        };
    }

    private static void set(MemorySegment data, DType dtype, long i, double value) {
        switch (dtype) {
            case F16 -> data.set(HALF, 2 * i, Floats.toF16((float) value));
            case BF16 -> data.set(HALF, 2 * i, Floats.toBF16((float) value));
            case F32 -> data.set(FLOAT, 4 * i, (float) value);
            case F64 -> data.set(DOUBLE, 8 * i, value);
            default -> throw new IllegalArgumentException("a table in " + dtype);
        }
    }
}
