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
        float[] values = matrix.toFloats();
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (dtype) {
                case F16 -> Floats.fromF16(Floats.toF16(values[i]));
                case BF16 -> Floats.fromBF16(Floats.toBF16(values[i]));
                case F32, F64 -> values[i];
                default -> throw new IllegalArgumentException(name + " in " + dtype);
            };
            if (!Float.isFinite(values[i])) {
                throw new UserError(Code.NUMERIC, name + ": the converted weights are not finite in " + dtype
                        + "; the model's weights overflow, or the calibration text is degenerate. Calibrate with other "
                        + "text");
            }
        }
        return Matrix.of(matrix.rows(), matrix.columns(), values);
    }

    /** The bytes of a matrix that was rounded to the dtype. */
    static MemorySegment encode(Matrix matrix, DType dtype, Arena arena) {
        float[] values = matrix.toFloats();
        MemorySegment bytes = arena.allocate((long) values.length * dtype.bytes(), Double.BYTES);
        for (int i = 0; i < values.length; i++) {
            StoredFloats.set(bytes, dtype, i, values[i]);
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
