package dev.optgptq.cli.eval;

import java.math.BigDecimal;
import java.math.MathContext;

/**
 * How much worse than the baseline a model may be.
 *
 * @param amount a share of the baseline's perplexity when relative, else a difference of perplexities
 */
public record MaxIncrease(double amount, boolean relative) {

    /** Fewer digits than a double holds, so that 0.07 stays 7 %. */
    private static final int DIGITS = 12;

    /** Reads "2%" (relative) or "0.5" (absolute); throws NumberFormatException for anything else. */
    public static MaxIncrease parse(String text) {
        boolean relative = text.endsWith("%");
        double number = Double.parseDouble(relative ? text.substring(0, text.length() - 1) : text);
        if (!Double.isFinite(number)) {
            throw new NumberFormatException(text);
        }
        return new MaxIncrease(relative ? number / 100 : number, relative);
    }

    /** As written on the command line. */
    @Override
    public String toString() {
        return digits(relative ? 100 * amount : amount) + (relative ? " %" : "");
    }

    /** As few digits as the number was written with. */
    static String digits(double value) {
        BigDecimal rounded = new BigDecimal(value).round(new MathContext(DIGITS));
        return rounded.signum() == 0 ? "0" : rounded.stripTrailingZeros().toPlainString();
    }
}
