package dev.optgptq.cli.eval;

/**
 * One threshold, held against what was found.
 *
 * @param name the option that set it
 * @param limit the most it may be, or the least
 * @param found what it is
 * @param passed whether found keeps the limit; never for NaN
 * @param sentence both numbers, for people
 */
public record Verdict(String name, double limit, double found, boolean passed, String sentence) {

    static Verdict atMost(String name, double limit, double found, String sentence) {
        return new Verdict(name, limit, found, found <= limit, sentence);
    }

    static Verdict atLeast(String name, double limit, double found, String sentence) {
        return new Verdict(name, limit, found, found >= limit, sentence);
    }
}
