package dev.optgptq.kernels.contract;

/**
 * How far an element may be from the reference's: {@code relative} times the largest magnitude of the reference's output,
 * so that cancellation inside an op does not ask for the impossible. Zero means the same value (either NaN matches NaN).
 *
 * @param scale stands for the largest magnitude where that is smaller, as where everything cancels
 */
public record Tolerance(double relative, double scale) {

    /** One unit in the last place of a float32 of magnitude 1. */
    private static final double ULP = 0x1p-23;

    public Tolerance(double relative) {
        this(relative, 0);
    }

    /** The same for outputs that are differences of terms of this magnitude, and may all be 0. */
    public Tolerance ofTerms(double magnitude) {
        return new Tolerance(relative, magnitude);
    }

    /** The same value. */
    public static final Tolerance EXACT = new Tolerance(0);

    /** Of an operand that the op may overwrite with whatever it likes. */
    public static final Tolerance ANYTHING = new Tolerance(Double.POSITIVE_INFINITY);

    /** A few float32 roundings in a row. */
    public static Tolerance roundings(int count) {
        return new Tolerance(count * ULP);
    }

    /** A float32 sum of n terms in any order; rounding errors grow as the square root, with room for bad luck. */
    public static Tolerance sum(long terms) {
        return new Tolerance(ULP * (2 + 3 * Math.sqrt((double) terms)));
    }

    /** Accumulated in float64, so that only the order of the sum differs. */
    public static Tolerance float64Sum(long terms) {
        return new Tolerance(0x1p-52 * (2 + 3 * Math.sqrt((double) terms)));
    }

    boolean accepts(double expected, double actual, double largest) {
        if (relative == Double.POSITIVE_INFINITY) {
            return true;
        }
        if (Double.isNaN(expected) || Double.isInfinite(expected) || relative == 0) {
            return expected == actual || (Double.isNaN(expected) && Double.isNaN(actual));
        }
        return Math.abs(expected - actual) <= allowed(largest);
    }

    double allowed(double largest) {
        return relative * Math.max(largest, scale);
    }
}
