package dev.optgptq.formats.dtype;

/** The scalar definition of the 16-bit float types: how their bits and a float32 turn into each other. */
public final class Floats {

    private Floats() {}

    /** Exact. */
    public static float fromF16(short bits) {
        return Float.float16ToFloat(bits);
    }

    /** Rounds to nearest, ties to even; beyond 65504 plus half a step it is infinite. */
    public static short toF16(float value) {
        return Float.floatToFloat16(value);
    }

    /** Exact: bfloat16 is the upper half of a float32. */
    public static float fromBF16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** Rounds to nearest, ties to even. A NaN stays a NaN: its payload may sit in the half that is cut off. */
    public static short toBF16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) ((bits >>> 16) | 0x0040);
        }
        int roundToEven = 0x7fff + ((bits >>> 16) & 1);
        return (short) ((bits + roundToEven) >>> 16);
    }
}
