package dev.optgptq.kernels.reference;

/** The complementary error function in float64, from its series and its continued fraction. */
final class ErrorFunction {

    /** Where the continued fraction takes over: 1 - erf has lost more than one digit by then and the fraction is still short. */
    private static final double SERIES_END = 1.5;

    private ErrorFunction() {}

    /** erfc(x) = 1 - erf(x), relative error below 1e-13 where the result is normal. */
    static double erfc(double x) {
        if (x < 0) {
            return 2 - erfc(-x);
        }
        return x < SERIES_END ? 1 - series(x) : fraction(x);
    }

    /** erf(x) = 2 / sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!, Abramowitz and Stegun 7.1.6: no term is negative. */
    private static double series(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; term > sum * 1e-17; n++) {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
    }

    /** erfc(x) = e^(-x^2) / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + (3/2) / ...))), Abramowitz and Stegun 7.1.14. */
    private static double fraction(double x) {
        double tail = x;
        for (int n = 120; n >= 1; n--) {
            tail = x + n / 2.0 / tail;
        }
        return Math.exp(-x * x) / Math.sqrt(Math.PI) / tail;
    }
}
