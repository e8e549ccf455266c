package dev.optgptq.kernels.contract;

import dev.optgptq.formats.dtype.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;

/** A dense matrix in host memory with its elements readable as float64, for filling and comparing operands. */
record HostMatrix(DType dtype, long rows, long columns, MemorySegment bytes) {

    static HostMatrix empty(DType dtype, long rows, long columns) {
        return new HostMatrix(dtype, rows, columns, Arena.ofAuto().allocate(rows * columns * dtype.bytes(), 64));
    }

    static HostMatrix filled(DType dtype, long rows, long columns, Values values, long seed) {
        HostMatrix matrix = empty(dtype, rows, columns);
        DoubleSupplier next = values.start(new SplittableRandom(seed), rows, columns);
        for (long i = 0; i < rows * columns; i++) {
            matrix.set(i, next.getAsDouble());
        }
        return matrix;
    }

    double get(long index) {
        return switch (dtype) {
            case F64 -> bytes.getAtIndex(ValueLayout.JAVA_DOUBLE, index);
            case F32 -> bytes.getAtIndex(ValueLayout.JAVA_FLOAT, index);
            case F16 -> Float.float16ToFloat(bytes.getAtIndex(ValueLayout.JAVA_SHORT, index));
            case BF16 -> Float.intBitsToFloat(bytes.getAtIndex(ValueLayout.JAVA_SHORT, index) << 16);
            case I64, U64 -> (double) bytes.getAtIndex(ValueLayout.JAVA_LONG, index);
            case I32, U32 -> bytes.getAtIndex(ValueLayout.JAVA_INT, index);
            case I16, U16 -> bytes.getAtIndex(ValueLayout.JAVA_SHORT, index);
            case U8, I8, BOOL, F8_E4M3, F8_E5M2 -> bytes.get(ValueLayout.JAVA_BYTE, index) & 0xFF;
        };
    }

    private void set(long index, double value) {
        switch (dtype) {
            case F64 -> bytes.setAtIndex(ValueLayout.JAVA_DOUBLE, index, value);
            case F32 -> bytes.setAtIndex(ValueLayout.JAVA_FLOAT, index, (float) value);
            case F16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, index, Float.floatToFloat16((float) value));
            // Truncated: any BF16 will do as an input, and NaN stays NaN.
            case BF16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, index,
                    (short) (Float.floatToRawIntBits((float) value) >>> 16));
            case I64, U64 -> bytes.setAtIndex(ValueLayout.JAVA_LONG, index, (long) value);
            case I32, U32 -> bytes.setAtIndex(ValueLayout.JAVA_INT, index, (int) (long) value);
            case I16, U16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, index, (short) (long) value);
            case U8, I8, BOOL, F8_E4M3, F8_E5M2 -> bytes.set(ValueLayout.JAVA_BYTE, index, (byte) (long) value);
        }
    }

    /** The largest finite magnitude. */
    double largest() {
        double largest = 0;
        for (long i = 0; i < rows * columns; i++) {
            double magnitude = Math.abs(get(i));
            largest = Double.isFinite(magnitude) ? Math.max(largest, magnitude) : largest;
        }
        return largest;
    }
}
