package dev.optgptq.cli.console;

import java.util.Locale;

/** Numbers for people. */
public final class Units {

    private static final String[] BYTE_UNITS = {"B", "kB", "MB", "GB", "TB"};
    private static final String[] COUNT_UNITS = {"", " k", " M", " G", " T"};
    private static final int SECONDS_PER_MINUTE = 60;
    private static final int SECONDS_PER_HOUR = 3600;

    private Units() {}

    /** Powers of 1000: "27.5 MB". */
    public static String bytes(long bytes) {
        return scaled((double) bytes, BYTE_UNITS, " ");
    }

    /** Powers of 1000: "14.3 M". */
    public static String count(long count) {
        return scaled((double) count, COUNT_UNITS, "");
    }

    private static String scaled(double value, String[] units, String gap) {
        double rest = value;
        int unit = 0;
        while (Math.abs(rest) >= 999.5 && unit < units.length - 1) {
            rest /= 1000;
            unit++;
        }
        String pattern = unit == 0 || Math.abs(rest) >= 99.95 ? "%.0f" : "%.1f";
        return String.format(Locale.ROOT, pattern, rest) + gap + units[unit];
    }

    /** "4 ms", "0.15 s", "1.5 s", "18 s", "3 min 05 s", "2 h 05 min". */
    public static String duration(double seconds) {
        if (seconds < 0.0995) {
            return String.format(Locale.ROOT, "%.0f ms", 1000 * seconds);
        }
        if (seconds < 0.995) {
            return String.format(Locale.ROOT, "%.2f s", seconds);
        }
        if (seconds < 9.95) {
            return String.format(Locale.ROOT, "%.1f s", seconds);
        }
        long whole = Math.round(seconds);
        if (whole < SECONDS_PER_MINUTE) {
            return whole + " s";
        }
        if (whole < SECONDS_PER_HOUR) {
            return String.format(Locale.ROOT, "%d min %02d s", whole / SECONDS_PER_MINUTE, whole % SECONDS_PER_MINUTE);
        }
        long minutes = whole / SECONDS_PER_MINUTE;
        return String.format(Locale.ROOT, "%d h %02d min", minutes / 60, minutes % 60);
    }

    /** A small positive share or error: "0.0123", "3.2e-05". */
    public static String small(double value) {
        return value == 0 ? "0" : String.format(Locale.ROOT, Math.abs(value) >= 1e-3 ? "%.4f" : "%.1e", value);
    }

    /** A perplexity: four decimals where they mean something. */
    public static String perplexity(double value) {
        return String.format(Locale.ROOT, Math.abs(value) < 1000 ? "%.4f" : "%.5g", value);
    }

    /** A relative change with its sign: "+0.86 %". */
    public static String change(double before, double after) {
        return String.format(Locale.ROOT, "%+.2f %%", 100 * (after / before - 1));
    }
}
