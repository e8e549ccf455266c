package dev.optgptq.gptq.convert;

import dev.optgptq.formats.dtype.StoredFloats;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Matrices as a checkpoint stores them. */
final class StoredMatrices {

    private StoredMatrices() {}

    /** A matrix rounded to a dtype. Throws UserError NUMERIC if it overflows. */
    static Matrix rounded(String name, Matrix matrix, DType dtype) {
        return matrix.map(value -> {
            float single = (float) value;
            float rounded = switch (dtype) {
                case F16 -> Floats.fromF16(Floats.toF16(single));
                case BF16 -> Floats.fromBF16(Floats.toBF16(single));
                case F32, F64 -> single;
                default -> throw new IllegalArgumentException(name + " in " + dtype);
            };
            if (!Float.isFinite(rounded)) {
                throw new UserError(Code.NUMERIC, name + ": the converted weights are not finite in " + dtype
                        + "; the model's weights overflow, or the calibration text is degenerate. Calibrate with other "
                        + "text");
            }
            return rounded;
        });
    }

    /** The bytes of a matrix that was rounded to the dtype. */
    static MemorySegment encode(Matrix matrix, DType dtype, Arena arena) {
        int columns = matrix.columns();
        MemorySegment bytes = arena.allocate((long) matrix.rows() * columns * dtype.bytes(), Double.BYTES);
        for (int row = 0; row < matrix.rows(); row++) {
            for (int column = 0; column < columns; column++) {
                StoredFloats.set(bytes, dtype, (long) row * columns + column, (float) matrix.at(row, column));
            }
        }
        return bytes;
    }

    /** A tensor of one or two dimensions; one is a row. */
    static Matrix decode(TensorView view) {
        int columns = Math.toIntExact(view.shape().dimension(view.shape().rank() - 1));
        int rows = Math.toIntExact(view.shape().elements() / columns);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) StoredFloats.get(view.data(), view.dtype(), i);
        }
        return Matrix.of(rows, columns, values);
    }
}
