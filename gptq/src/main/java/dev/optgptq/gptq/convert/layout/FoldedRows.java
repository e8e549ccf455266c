package dev.optgptq.gptq.convert.layout;

import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** What all positions have in common, moved to where tokens come from. */
final class FoldedRows {

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
                mean[column] += StoredFloats.get(added.data(), added.dtype(), row * columns + column) / rows;
            }
        }
        MemorySegment sums = arena.allocate(table.data().byteSize(), Double.BYTES);
        for (long i = 0; i < table.shape().elements(); i++) {
            double sum = StoredFloats.get(table.data(), table.dtype(), i) + mean[(int) (i % columns)];
            StoredFloats.set(sums, table.dtype(), i, sum);
        }
        return sums;
    }
}
