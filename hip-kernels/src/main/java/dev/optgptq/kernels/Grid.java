package dev.optgptq.kernels;

import dev.optgptq.formats.dtype.DType;

/**
 * A uniform integer grid: a code q in [0, 2^bits - 1] stands for scale * (q - zero). Fitting a group of weights w
 * (IST-DASLab/gptq quant.py; GPTQ paper section 3):
 *
 * <pre>
 *   low = min(0, min w), high = max(0, max w);  both zero: low = -1, high = 1
 *   symmetric:  high = max(|low|, high), low = -high if any w is negative;  zero = 2^(bits-1)
 *   scale = (high - low) / (2^bits - 1);  rounded to scaleType, and never 0
 *   asymmetric: zero = round(-low / scale), clamped to the codes
 * </pre>
 *
 * A code is clamp(round(w / scale) + zero, 0, 2^bits - 1), round half to even. With clipSearch, low and high shrink
 * together by p = 1 - i / 100, i = 0 .. 79, and the p with the least sum |w - dequantized|^2.4 wins, the first of equals.
 *
 * @param bits 2, 3, 4 or 8
 * @param scaleType dtype the scale will be stored in, F16, BF16 or F32; it is rounded before any code is computed
 */
public record Grid(int bits, boolean symmetric, boolean clipSearch, DType scaleType) {

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

    /** The largest code. */
    public int maxCode() {
        return (1 << bits) - 1;
    }
}
