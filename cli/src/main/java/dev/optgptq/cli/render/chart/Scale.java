package dev.optgptq.cli.render.chart;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Maps values to coordinates, and places the ticks of its axis. */
sealed interface Scale {

    /** The coordinate of a value; values outside are clamped. */
    double at(double value);

    List<Tick> ticks();

    /** A mark on an axis. */
    record Tick(double value, String label) {}

    /**
     * @param low value at coordinate {@code from}
     * @param high value at coordinate {@code to}
     * @param step distance of the ticks
     */
    record Linear(double low, double high, double step, double from, double to) implements Scale {

        /** Covers the values with about the given number of round ticks. */
        static Linear covering(double low, double high, int ticks, double from, double to) {
            double width = high > low ? high - low : Math.max(Math.abs(high), 1) * 0.1;
            double step = roundUp(width / ticks);
            return new Linear(Math.floor(low / step) * step, Math.ceil((low + width) / step) * step, step, from, to);
        }

        /** The next of 1, 2, 5, 10 times a power of ten. */
        private static double roundUp(double value) {
            double power = Math.pow(10, Math.floor(Math.log10(value)));
            for (double factor : new double[] {1, 2, 5}) {
                if (value <= factor * power * (1 + 1e-9)) {
                    return factor * power;
                }
            }
            return 10 * power;
        }

        @Override
        public double at(double value) {
            return from + (to - from) * Math.clamp((value - low) / (high - low), 0, 1);
        }

        @Override
        public List<Tick> ticks() {
            int decimals = (int) Math.clamp(-Math.floor(Math.log10(step)), 0, 12);
            int count = (int) Math.round((high - low) / step);
            List<Tick> ticks = new ArrayList<>();
            for (int i = 0; i <= count; i++) {
                double value = low + i * step;
                ticks.add(new Tick(value, String.format(Locale.ROOT, "%." + decimals + "f", value)));
            }
            return ticks;
        }
    }

    /** Logarithmic; ticks at 1, 2 and 5 times the powers of ten, or at the powers alone when there are many. */
    record Logarithmic(double low, double high, double from, double to) implements Scale {

        private static final double[] FINE = {1, 2, 5};
        private static final double[] COARSE = {1};
        /** The largest ratio of the ends that gets fine ticks. */
        private static final double MAX_FINE = 1000;

        /** Covers positive values and ends at ticks. */
        static Logarithmic covering(double low, double high, double from, double to) {
            if (high / low > MAX_FINE) {
                return new Logarithmic(Math.pow(10, Math.floor(Math.log10(low))),
                        Math.pow(10, Math.ceil(Math.log10(high))), from, to);
            }
            double below = Math.pow(10, Math.floor(Math.log10(low)));
            double start = below;
            for (double factor : FINE) {
                start = factor * below <= low ? factor * below : start;
            }
            double power = Math.pow(10, Math.floor(Math.log10(high)));
            double end = 10 * power;
            for (int i = FINE.length - 1; i >= 0; i--) {
                end = FINE[i] * power >= high ? FINE[i] * power : end;
            }
            return new Logarithmic(start, end > start ? end : 10 * start, from, to);
        }

        @Override
        public double at(double value) {
            double share = Math.log(Math.max(value, low) / low) / Math.log(high / low);
            return from + (to - from) * Math.clamp(share, 0, 1);
        }

        @Override
        public List<Tick> ticks() {
            double[] factors = high / low > 2 * MAX_FINE ? COARSE : FINE;
            List<Tick> ticks = new ArrayList<>();
            for (int exponent = (int) Math.floor(Math.log10(low)); exponent <= Math
                    .ceil(Math.log10(high)); exponent++) {
                for (double factor : factors) {
                    double value = factor * Math.pow(10, exponent);
                    if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) {
                        ticks.add(new Tick(value, label(value, exponent)));
                    }
                }
            }
            return ticks;
        }

        private static String label(double value, int exponent) {
            return exponent < -4
                    ? String.format(Locale.ROOT, "%.0e", value)
                    : String.format(Locale.ROOT, "%." + Math.max(0, -exponent) + "f", value);
        }
    }
}
