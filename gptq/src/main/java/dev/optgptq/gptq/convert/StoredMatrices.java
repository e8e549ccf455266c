package dev.optgptq.gptq.convert;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Matrices as a checkpoint stores them. */
final class StoredMatrices {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
    private static final ValueLayout.OfShort HALF = ValueLayout.JAVA_SHORT_UNALIGNED;

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
            switch (dtype) {
                case F16 -> bytes.set(HALF, 2L * i, Floats.toF16(values[i]));
                case BF16 -> bytes.set(HALF, 2L * i, Floats.toBF16(values[i]));
                case F32 -> bytes.set(FLOAT, 4L * i, values[i]);
                case F64 -> bytes.set(DOUBLE, 8L * i, values[i]);
                default -> throw new IllegalArgumentException("weights in " + dtype);
            }
        }
        return bytes;
    }

    /** A tensor of one or two dimensions; one is a row. */
    static Matrix decode(TensorView view) {
        int columns = Math.toIntExact(view.shape().dimension(view.shape().rank() - 1));
        int rows = Math.toIntExact(view.shape().elements() / columns);
        float[] values = new float[rows * columns];
        MemorySegment bytes = view.data();
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (view.dtype()) {
                case F16 -> Floats.fromF16(bytes.get(HALF, 2L * i));
                case BF16 -> Floats.fromBF16(bytes.get(HALF, 2L * i));
                case F32 -> bytes.get(FLOAT, 4L * i);
                case F64 -> (float) bytes.get(DOUBLE, 8L * i);
                default -> throw new IllegalArgumentException(view.name() + " in " + view.dtype());
            };
        }
        return Matrix.of(rows, columns, values);
    }
}
