package dev.optgptq.kernels.ops;

/**
 * The error measure of the clip search, |d|^2.4, from operations that every device rounds alike, so that all take the same
 * step: with y = d^2 it is y times the fifth root of y, the root by Newton's method from a guess that divides the
 * exponent by five.
 */
public final class ClipNorm {

    /** 0.8 of the bits of 1.0, moved to where the guess is best over the mantissa. */
    public static final int ROOT_GUESS = (int) (0.8 * 0x3f800000) - 0x50000;
    /** The guess is within 4 %; each step doubles the digits, three reach float32's. */
    public static final int NEWTON_STEPS = 3;

    private ClipNorm() {}

    /** |d|^2.4 for |d| up to 2^20; the scalar definition. */
    public static float power(float d) {
        float y = d * d;
        float root = Float.intBitsToFloat((int) (Float.floatToRawIntBits(y) * 0.2f) + ROOT_GUESS);
        for (int i = 0; i < NEWTON_STEPS; i++) {
            float square = root * root;
            root = root * 0.8f + y / (square * square) * 0.2f;
        }
        return y * root;
    }

    /** Normalises the errors of a group by its range, so that they neither vanish nor overflow. */
    public static float unit(Grid.Range range) {
        return Math.min(1 / (range.high() - range.low()), Float.MAX_VALUE);
    }
}
