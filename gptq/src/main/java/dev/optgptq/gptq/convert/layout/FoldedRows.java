package dev.optgptq.gptq.convert.layout;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** What is done to a row of the embedding whatever its context, moved into the table. */
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

    /**
     * The rows of a table, times a factor, after a norm.
     *
     * @param norm of whole rows; null for none
     * @param weight of the norm, and bias; null where it has none
     * @return in the table's dtype; the arena owns it
     */
    static MemorySegment normed(TensorView table, double factor, @Nullable NormSpec norm, @Nullable TensorView weight,
            @Nullable TensorView bias, Arena arena) {
        int columns = Math.toIntExact(table.shape().dimension(1));
        MemorySegment rows = arena.allocate(table.data().byteSize(), Double.BYTES);
        double[] row = new double[columns];
        for (long first = 0; first < table.shape().elements(); first += columns) {
            for (int i = 0; i < columns; i++) {
                row[i] = factor * StoredFloats.get(table.data(), table.dtype(), first + i);
            }
            if (norm != null) {
                normalise(row, norm);
            }
            for (int i = 0; i < columns; i++) {
                double scaled = weight == null ? row[i] : row[i] * (at(weight, i) + (norm == null ? 0 : norm.offset()));
                StoredFloats.set(rows, table.dtype(), first + i, bias == null ? scaled : scaled + at(bias, i));
            }
        }
        return rows;
    }

    private static double at(TensorView vector, int i) {
        return StoredFloats.get(vector.data(), vector.dtype(), i);
    }

    private static void normalise(double[] row, NormSpec norm) {
        double mean = norm.kind() == NormSpec.Kind.LAYER ? Arrays.stream(row).average().orElse(0) : 0;
        double square = Arrays.stream(row).map(value -> (value - mean) * (value - mean)).average().orElse(0);
        double length = Math.sqrt(square + norm.eps());
        Arrays.setAll(row, i -> (row[i] - mean) / length);
    }
}
