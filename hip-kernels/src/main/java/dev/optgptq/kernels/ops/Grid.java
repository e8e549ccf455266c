package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.FloatRounding;

/**
 * A uniform integer grid: a code q in [0, 2^bits - 1] stands for scale * (q - zero). Fitting a group of weights w
 * (IST-DASLab/gptq quant.py; GPTQ paper section 3):
 *
 * <pre>
 *   low = min(0, min w), high = max(0, max w);  both zero: low = -1, high = 1
 *   scale = (high - low) / (2^bits - 1);  clamped to the positive numbers that scaleType can hold
 *   asymmetric: zero = round(-low / scale), clamped to the codes
 *   symmetric:  zero = 2^(bits-1);  low = -high = -max(|low|, high) before, where weights have both signs
 *               one sign: scale = -high / 2^(bits-1) or -low / 2^(bits-1), clamped likewise
 * </pre>
 *
 * The last line departs from the original, which covers a group without negative weights by [0, high] and a positive scale,
 * and then cuts it off below high / 2, as codes reach only 2^(bits-1) - 1 steps up. They reach 2^(bits-1) steps down, and the
 * formats store a negative scale as it is. With positiveScales the scale of such a group is high / (2^(bits-1) - 1).
 *
 * A code is clamp(round(w / scale) + zero, 0, 2^bits - 1), round half to even. All arithmetic is float32 with one
 * rounding per operation, as in the original; so every device gives the same codes, bit for bit. With clipSearch, low
 * and high shrink together by p = 1 - i / 100, i = 0 .. 79, and the p with the least sum |w - dequantized|^2.4 wins,
 * the first of equals.
 *
 * @param bits 2, 3, 4 or 8
 * @param scaleType dtype the scale will be stored in, F16, BF16 or F32. Codes are made with the scale before it is rounded
 *     to that, as in the original: the outermost weight of a symmetric group lies on a tie (w / scale = +-2^(bits-1) - 1/2), which a
 *     rounded scale would break either way
 * @param positiveScales whether no scale may be negative
 */
public record Grid(int bits, boolean symmetric, boolean clipSearch, DType scaleType, boolean positiveScales) {

    /** Shrink steps of the clip search, of 1 % each, step 0 included. */
    public static final int CLIP_STEPS = 80;
    /** The exponent of the clip search's error. */
    public static final double CLIP_NORM = 2.4;

    public Grid {
        if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
            throw new IllegalArgumentException("bits must be 2, 3, 4 or 8, found " + bits);
        }
        if (scaleType != DType.F16 && scaleType != DType.BF16 && scaleType != DType.F32) {
            throw new IllegalArgumentException("scales are F16, BF16 or F32, found " + scaleType);
        }
    }

    /** A grid whose scales may be negative where that is better. */
    public Grid(int bits, boolean symmetric, boolean clipSearch, DType scaleType) {
        this(bits, symmetric, clipSearch, scaleType, false);
    }

    /** The largest code. */
    public int maxCode() {
        return (1 << bits) - 1;
    }

    /** The ends of the values that a grid covers: low at most 0, high at least 0. */
    public record Range(float low, float high) {

        /** Both ends moved towards 0 by some steps of the clip search. */
        public Range shrunk(int step) {
            float p = (float) (1 - step / 100.0);
            return new Range(p * low, p * high);
        }
    }

    /**
     * The range to cover for a group.
     *
     * @param low min(0, min w)
     * @param high max(0, max w)
     */
    public Range range(float low, float high) {
        if (low == 0 && high == 0) {
            return new Range(-1, 1);
        }
        if (!symmetric || isOneSided(low, high)) {
            return new Range(low, high);
        }
        float both = Math.max(-low, high);
        return new Range(-both, both);
    }

    private static boolean isOneSided(float low, float high) {
        return low == 0 || high == 0;
    }

    /** The scale of a range: finite and not 0 in the scale type, whatever the range; negative where that covers it better. */
    public float scale(Range range) {
        if (!symmetric || !isOneSided(range.low, range.high)) {
            return held((range.high - range.low) / maxCode());
        }
        int down = 1 << (bits - 1);
        if (range.high == 0) {
            return held(-range.low / down);
        }
        return positiveScales ? held(range.high / (down - 1)) : -held(range.high / down);
    }

    /** The nearest positive number that the scale type can hold. */
    private float held(float exact) {
        return switch (scaleType) {
            case F16 -> Math.clamp(exact, 0x1p-24f, 65504f);
            case BF16 -> Math.clamp(exact, 0x1p-133f, 0x1.FEp127f);
            default -> Math.clamp(exact, Float.MIN_VALUE, Float.MAX_VALUE);
        };
    }

    /** A scale as the format stores it: the nearest that the scale type has, which may be 0 or infinite. */
    public float stored(float scale) {
        return switch (scaleType) {
            case F16 -> Float.float16ToFloat(Float.floatToFloat16(scale));
            case BF16 -> FloatRounding.bf16ToFloat(FloatRounding.floatToBf16(scale));
            default -> scale;
        };
    }

    /** Whether a stored scale is one that this grid can have: finite, not 0, and positive where it must be. */
    public boolean isScale(float stored) {
        return Float.isFinite(stored) && (positiveScales ? stored > 0 : stored != 0);
    }

    /** The code that stands for 0. */
    public int zero(Range range, float scale) {
        return symmetric ? 1 << (bits - 1) : Math.clamp((int) Math.rint(-range.low / scale), 0, maxCode());
    }

    /** The code of a weight; that of 0 for NaN. */
    public int code(float weight, float scale, int zero) {
        // Clamped before rounding, which gives the same since the bounds are integers, and fits an int.
        return (int) Math.rint(clamp(weight / scale, zero)) + zero;
    }

    /** The value of a code. */
    public static float value(int code, float scale, int zero) {
        return scale * (code - zero);
    }

    /** A number of steps of the scale, held within those that codes stand for; passes NaN on. */
    public float clamp(float steps, int zero) {
        return Math.min(Math.max(steps, -zero), maxCode() - zero);
    }
}
