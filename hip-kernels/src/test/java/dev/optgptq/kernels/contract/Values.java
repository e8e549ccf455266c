package dev.optgptq.kernels.contract;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;

/** Generates an operand's elements in row-major order from a seeded source. */
@FunctionalInterface
public interface Values {

    DoubleSupplier start(SplittableRandom random, long rows, long columns);

    /** A function of the indices. */
    @FunctionalInterface
    interface ByIndex {
        double at(long row, long column);
    }

    static Values normal(double deviation) {
        return (random, rows, columns) -> () -> deviation * random.nextGaussian();
    }

    /**
     * Multiples of 1/256 at least 1/8 from 0: small steps from them are exact in float32, and stay on one side of the kink
     * that some functions have at 0.
     */
    static Values grid(double deviation) {
        return (random, rows, columns) -> () -> {
            double value = Math.rint(256 * deviation * random.nextGaussian()) / 256;
            return value + Math.copySign(0.125, value);
        };
    }

    static Values uniform(double low, double high) {
        return (random, rows, columns) -> () -> random.nextDouble(low, high);
    }

    /** Integers in [low, high]. */
    static Values integers(int low, int high) {
        return (random, rows, columns) -> () -> random.nextInt(low, high + 1);
    }

    /** Multiples of 1 / denominator in [-1, 1]: sums of their products are exact in float32 while they are few. */
    static Values fractions(int denominator) {
        return (random, rows, columns) -> () -> random.nextInt(-denominator, denominator + 1) / (double) denominator;
    }

    static Values constant(double value) {
        return (random, rows, columns) -> () -> value;
    }

    /** The elements given, again and again. */
    static Values of(double... elements) {
        return byIndex((row, column) -> elements[(int) (column % elements.length)]);
    }

    static Values byIndex(ByIndex function) {
        return (random, rows, columns) -> {
            long[] next = {0};
            return () -> {
                long index = next[0]++;
                return function.at(index / columns, index % columns);
            };
        };
    }

    /** What an operand holds before it is written: NaN where the type has it. */
    static Values garbage() {
        return constant(Double.NaN);
    }

    /** A random order of 0 .. size - 1, cut to the operand's columns. */
    static Values permutation(int size) {
        return (random, rows, columns) -> {
            int[] order = new int[size];
            Arrays.setAll(order, i -> i);
            for (int i = size - 1; i > 0; i--) {
                int j = random.nextInt(i + 1);
                int kept = order[i];
                order[i] = order[j];
                order[j] = kept;
            }
            return byIndex((row, column) -> order[(int) column]).start(random, rows, columns);
        };
    }

    /**
     * A symmetric positive definite matrix with correlated neighbours, 0.9^|i-j|, each row and column scaled between 1/4
     * and 4.
     */
    static Values positiveDefinite() {
        return (random, rows, columns) -> {
            double[] scale = random.doubles(rows, -2, 2).map(power -> Math.pow(2, power)).toArray();
            return byIndex((i, j) -> scale[(int) i] * scale[(int) j] * Math.pow(0.9, (int) Math.abs(i - j)))
                    .start(random, rows, columns);
        };
    }
}
