package dev.optgptq.calibrate.gradient;

import java.util.Arrays;

/** Squared gradients of a site's tokens as weights: the largest are clamped to the largest of the rest, and the mean is 1. */
final class TokenWeights {

    /** Share of the tokens that are not clamped. A few tokens of a sequence can hold most of the squared gradient. */
    private static final double KEPT = 0.999;

    private TokenWeights() {}

    /** The mean after the clamp. */
    static double mean(float[] squares) {
        return clampedSum(squares, most(squares)) / squares.length;
    }

    /** Clamped and scaled to mean 1; all 1 if no token has any gradient. */
    static float[] normalised(float[] squares) {
        float most = most(squares);
        double sum = clampedSum(squares, most);
        float[] result = new float[squares.length];
        for (int t = 0; t < squares.length; t++) {
            result[t] = sum > 0 ? (float) (Math.min(squares[t], most) * squares.length / sum) : 1;
        }
        return result;
    }

    private static float most(float[] squares) {
        float[] sorted = squares.clone();
        Arrays.sort(sorted);
        return sorted[(int) Math.ceil(KEPT * sorted.length) - 1];
    }

    private static double clampedSum(float[] squares, float most) {
        double sum = 0;
        for (float square : squares) {
            sum += Math.min(square, most);
        }
        return sum;
    }
}
