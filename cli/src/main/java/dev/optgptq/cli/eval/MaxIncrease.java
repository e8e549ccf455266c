package dev.optgptq.cli.eval;

import java.util.Locale;

/**
 * How much worse than the baseline a model may be.
 *
 * @param amount a share of the baseline's perplexity when relative, else a difference of perplexities
 */
public record MaxIncrease(double amount, boolean relative) {

    /** Reads "2%" (relative) or "0.5" (absolute); throws NumberFormatException for anything else. */
    public static MaxIncrease parse(String text) {
        boolean relative = text.endsWith("%");
        double number = Double.parseDouble(relative ? text.substring(0, text.length() - 1) : text);
        if (!Double.isFinite(number)) {
            throw new NumberFormatException(text);
        }
        return new MaxIncrease(relative ? number / 100 : number, relative);
    }

    /** As it is written on the command line. */
    @Override
    public String toString() {
        return relative
                ? String.format(Locale.ROOT, "%.4g %%", 100 * amount)
                : String.format(Locale.ROOT, "%.4g", amount);
    }
}
