package dev.optgptq.kernels.reference;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** One element at a time, as a double: exact when read, rounded once to nearest even when written. */
final class Elements {

    private static final ValueLayout.OfShort SHORT = JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE = JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Elements() {}

    static double get(Tensor tensor, long row, long column) {
        long offset = offset(tensor, row, column);
        return switch (tensor.dtype()) {
            case F64 -> tensor.memory().get(DOUBLE, offset);
            case F32 -> tensor.memory().get(FLOAT, offset);
            case F16 -> Float.float16ToFloat(tensor.memory().get(SHORT, offset));
            case BF16 -> FloatRounding.bf16ToFloat(tensor.memory().get(SHORT, offset));
            default -> throw new IllegalArgumentException("not a float dtype: " + tensor);
        };
    }

    static void set(Tensor tensor, long row, long column, double value) {
        long offset = offset(tensor, row, column);
        switch (tensor.dtype()) {
            case F64 -> tensor.memory().set(DOUBLE, offset, value);
            case F32 -> tensor.memory().set(FLOAT, offset, (float) value);
            case F16 -> tensor.memory().set(SHORT, offset, FloatRounding.doubleToFloat16(value));
            case BF16 -> tensor.memory().set(SHORT, offset, FloatRounding.doubleToBf16(value));
            default -> throw new IllegalArgumentException("not a float dtype: " + tensor);
        }
    }

    /** An element of an I32 tensor. */
    static int getInt(Tensor tensor, long row, long column) {
        return tensor.memory().get(INT, offset(tensor, row, column));
    }

    /** Writes an element of an I32 tensor. */
    static void setInt(Tensor tensor, long row, long column, int value) {
        tensor.memory().set(INT, offset(tensor, row, column), value);
    }

    /** An element of an F32 tensor, for arithmetic that is defined in float32. */
    static float getFloat(Tensor tensor, long row, long column) {
        return tensor.memory().get(FLOAT, offset(tensor, row, column));
    }

    /** An element of a U8 tensor. */
    static int getByte(Tensor tensor, long row, long column) {
        return Byte.toUnsignedInt(tensor.memory().get(ValueLayout.JAVA_BYTE, offset(tensor, row, column)));
    }

    /** Writes an element of a U8 tensor. */
    static void setByte(Tensor tensor, long row, long column, int value) {
        tensor.memory().set(ValueLayout.JAVA_BYTE, offset(tensor, row, column), (byte) value);
    }

    private static long offset(Tensor tensor, long row, long column) {
        return (row * tensor.stride() + column) * tensor.dtype().bytes();
    }
}
