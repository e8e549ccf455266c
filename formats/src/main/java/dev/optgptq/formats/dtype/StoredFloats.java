package dev.optgptq.formats.dtype;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Single elements of stored floats, little-endian as files have them, for what is not worth a vector loop. */
public final class StoredFloats {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    private StoredFloats() {}

    /**
     * The element at an index, exactly. Throws IllegalArgumentException for a dtype that weights are not stored in.
     *
     * @param dtype F16, BF16, F32 or F64
     */
    public static double get(MemorySegment data, DType dtype, long index) {
        return switch (dtype) {
            case F16 -> Floats.fromF16(data.get(SHORT, Short.BYTES * index));
            case BF16 -> Floats.fromBF16(data.get(SHORT, Short.BYTES * index));
            case F32 -> data.get(FLOAT, Float.BYTES * index);
            case F64 -> data.get(DOUBLE, Double.BYTES * index);
            case BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, I32, U32, I64, U64 -> throw unexpected(dtype);
        };
    }

    /** Writes an element, rounded to nearest; to F16 and BF16 by way of a float. Dtypes as for get. */
    public static void set(MemorySegment data, DType dtype, long index, double value) {
        switch (dtype) {
            case F16 -> data.set(SHORT, Short.BYTES * index, Floats.toF16((float) value));
            case BF16 -> data.set(SHORT, Short.BYTES * index, Floats.toBF16((float) value));
            case F32 -> data.set(FLOAT, Float.BYTES * index, (float) value);
            case F64 -> data.set(DOUBLE, Double.BYTES * index, value);
            case BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, I32, U32, I64, U64 -> throw unexpected(dtype);
        }
    }

    private static IllegalArgumentException unexpected(DType dtype) {
        return new IllegalArgumentException("expected floats, found " + dtype);
    }
}
