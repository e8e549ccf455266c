package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/**
 * A matrix of floats as rows of the file. Of row r there, element c stands at order(r) * rowStep + c * columnStep in the checkpoint.
 *
 * @param first element of the tensor that is theirs
 * @param added to each element
 */
record PlainRows(TensorView view, long first, IntUnaryOperator order, int rows, long columns, long rowStep,
        long columnStep,
        float added) {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    /** A vector, or a matrix as it is stored, as vectors of one element: every row of it by itself. */
    static PlainRows vector(TensorView view, GgufRows.Rows rows, float added) {
        return new PlainRows(view, 0, rows.order(), rows.count(), 1, 1, 1, added);
    }

    /**
     * Some of the rows.
     *
     * @param to after the last
     */
    void put(GgufType type, int from, int to, MemorySegment target) {
        if (type == GgufType.F32) {
            putFloats(from, to, target);
        } else {
            putHalves(from, to, target);
        }
    }

    void putFloats(int from, int to, MemorySegment target) {
        for (int row = from; row < to; row++) {
            for (long column = 0; column < columns; column++) {
                target.set(FLOAT, 4 * ((row - from) * columns + column), (float) (value(row, column) + added));
            }
        }
    }

    /** The stored bytes, where they are those of the file: float16 in the same order. */
    Optional<MemorySegment> stored(GgufType type) {
        return type == GgufType.F16 && view.dtype() == DType.F16 && order.equals(GgufRows.SAME) && columnStep == 1
                && added == 0
                        ? Optional.of(view.data().asSlice(2 * first, 2L * rows * columns))
                        : Optional.empty();
    }

    /** Rounded to float16, which is what most of llama.cpp's devices compute in; a value beyond it is refused. */
    private void putHalves(int from, int to, MemorySegment target) {
        IntStream.range(from, to).parallel().forEach(row -> putRow(row, row - from, target));
    }

    private void putRow(int row, int to, MemorySegment target) {
        if (view.dtype() == DType.F16 && columnStep == 1 && added == 0) {
            MemorySegment.copy(view.data(), 2L * (first + order.applyAsInt(row) * rowStep), target, 2L * to * columns,
                    2 * columns);
            return;
        }
        for (long column = 0; column < columns; column++) {
            double value = value(row, column) + added;
            short half = Floats.toF16((float) value);
            if (Float.isInfinite(Floats.fromF16(half)) && Double.isFinite(value)) {
                throw new UserError(Code.NUMERIC, view.file() + ", tensor '" + view.name()
                        + "': expected values that float16 holds, up to 65504, found " + value
                        + "; this model cannot be exported to F16");
            }
            target.set(SHORT, 2 * (to * columns + column), half);
        }
    }

    private double value(int row, long column) {
        return StoredFloats.get(view.data(), view.dtype(),
                first + order.applyAsInt(row) * rowStep + column * columnStep);
    }
}
