package dev.optgptq.cli.eval;

/**
 * One threshold, compared with the measurement.
 *
 * @param name the option that set it
 * @param limit the largest or smallest value allowed
 * @param found the measured value
 * @param passed whether found is within the limit; never for NaN
 * @param sentence both numbers in a sentence, for people
 */
public record Verdict(String name, double limit, double found, boolean passed, String sentence) {

    static Verdict atMost(String name, double limit, double found, String sentence) {
        return new Verdict(name, limit, found, found <= limit, sentence);
    }

    static Verdict atLeast(String name, double limit, double found, String sentence) {
        return new Verdict(name, limit, found, found >= limit, sentence);
    }
}
