package dev.optgptq.kernels.host;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.ValueLayout;

/** Single elements of a tensor in host memory, by row and column; the address may be unaligned. */
public final class Elements {

    private Elements() {}

    /** An element of an F32 tensor. */
    public static float f32(Tensor tensor, long row, long column) {
        return tensor.memory().get(ValueLayout.JAVA_FLOAT_UNALIGNED, (row * tensor.stride() + column) * Float.BYTES);
    }

    /** Writes an element of an F32 tensor. */
    public static void f32(Tensor tensor, long row, long column, float value) {
        tensor.memory().set(ValueLayout.JAVA_FLOAT_UNALIGNED, (row * tensor.stride() + column) * Float.BYTES, value);
    }

    /** An element of an F64 tensor. */
    public static double f64(Tensor tensor, long row, long column) {
        return tensor.memory().get(ValueLayout.JAVA_DOUBLE_UNALIGNED, (row * tensor.stride() + column) * Double.BYTES);
    }

    /** Writes an element of an F64 tensor. */
    public static void f64(Tensor tensor, long row, long column, double value) {
        tensor.memory().set(ValueLayout.JAVA_DOUBLE_UNALIGNED, (row * tensor.stride() + column) * Double.BYTES, value);
    }

    /** An element of an F16 tensor, widened. */
    public static float f16(Tensor tensor, long row, long column) {
        return Float.float16ToFloat(
                tensor.memory().get(ValueLayout.JAVA_SHORT_UNALIGNED, (row * tensor.stride() + column) * Short.BYTES));
    }

    /** An element of an I32 tensor. */
    public static int i32(Tensor tensor, long row, long column) {
        return tensor.memory().get(ValueLayout.JAVA_INT_UNALIGNED, (row * tensor.stride() + column) * Integer.BYTES);
    }

    /** Writes an element of an I32 tensor. */
    public static void i32(Tensor tensor, long row, long column, int value) {
        tensor.memory().set(ValueLayout.JAVA_INT_UNALIGNED, (row * tensor.stride() + column) * Integer.BYTES, value);
    }

    /** An element of a U8 tensor. */
    public static int u8(Tensor tensor, long row, long column) {
        return Byte.toUnsignedInt(tensor.memory().get(ValueLayout.JAVA_BYTE, row * tensor.stride() + column));
    }

    /** Writes an element of a U8 tensor. */
    public static void u8(Tensor tensor, long row, long column, int value) {
        tensor.memory().set(ValueLayout.JAVA_BYTE, row * tensor.stride() + column, (byte) value);
    }
}
