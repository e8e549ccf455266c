package dev.optgptq.kernels;

/**
 * Narrowing between the float types, each value rounded once, to nearest even. Widening is exact: BF16 by a shift, F16 by
 * Float.float16ToFloat.
 */
public final class FloatRounding {

    private FloatRounding() {}

    /** The float whose upper half is the BF16 pattern. */
    public static float bf16ToFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** The nearest BF16; NaN stays NaN, values from 2^128 - 2^119 up become infinite. */
    public static short floatToBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            // Rounding could carry a NaN's payload into infinity; the quiet bit keeps it NaN.
            return (short) ((bits >>> 16) | 0x40);
        }
        int tie = (bits >>> 16) & 1;
        return (short) ((bits + 0x7fff + tie) >>> 16);
    }

    /** The nearest BF16, without the double rounding that a cast to float between would bring. */
    public static short doubleToBf16(double value) {
        return floatToBf16(toOddFloat(value));
    }

    /** The nearest F16. */
    public static short doubleToFloat16(double value) {
        return Float.floatToFloat16(toOddFloat(value));
    }

    /**
     * Rounds to odd: an inexact value becomes the neighbouring float with an odd last bit, which keeps it off the ties of
     * any type narrower by two bits or more, so rounding again is right (Boldo and Melquiond, "Emulation of FMA and
     * correctly rounded sums: proved algorithms using rounding to odd").
     */
    private static float toOddFloat(double value) {
        float nearest = (float) value;
        if (nearest == value || Double.isNaN(value)) {
            return nearest;
        }
        float towardsZero = Math.abs((double) nearest) > Math.abs(value)
                ? Math.copySign(Math.nextDown(Math.abs(nearest)), nearest)
                : nearest;
        return Float.intBitsToFloat(Float.floatToRawIntBits(towardsZero) | 1);
    }
}
