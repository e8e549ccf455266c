package dev.optgptq.formats.dtype;

/** The scalar definition of the small float types: conversions between their bits and float32. */
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

    /**
     * Exact. Float8 of 4 exponent bits (bias 7) and 3 of mantissa, with a NaN and no infinity (Micikevicius et al. 2022,
     * arXiv 2209.05433, section 3): the largest is 448.
     */
    public static float fromE4M3(byte bits) {
        int exponent = (bits >> 3) & 0xf;
        int mantissa = bits & 0x7;
        if (exponent == 0xf && mantissa == 0x7) {
            return Float.NaN;
        }
        float size = exponent == 0
                ? Math.scalb((float) mantissa, -9) // 2^-6 / 8
                : Math.scalb((float) (8 + mantissa), exponent - 10);
        return bits < 0 ? -size : size;
    }

    /**
     * Exact. Float4 of 2 exponent bits (bias 1) and 1 of mantissa (OCP Microscaling Formats 1.0, section 5.3.3): 0, 0.5, 1,
     * 1.5, 2, 3, 4, 6 and their negatives.
     *
     * @param bits the lower 4 count
     */
    public static float fromE2M1(int bits) {
        int exponent = (bits >> 1) & 0x3;
        int mantissa = bits & 0x1;
        float size = exponent == 0 ? 0.5f * mantissa : Math.scalb((float) (2 + mantissa), exponent - 2);
        return (bits & 0x8) != 0 ? -size : size;
    }

    /** Exact. The scale E8M0 (OCP Microscaling Formats 1.0, section 5.4.1): 2^(bits - 127), and NaN for 255. */
    public static float fromE8M0(byte bits) {
        int exponent = Byte.toUnsignedInt(bits);
        return exponent == 0xff ? Float.NaN : Math.scalb(1f, exponent - 127);
    }
}
