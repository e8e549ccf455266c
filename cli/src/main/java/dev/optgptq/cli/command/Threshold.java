package dev.optgptq.cli.command;

import dev.optgptq.cli.render.JUnitXml;
import dev.optgptq.formats.UserError;

/** A limit and what was found: met when found is at most the limit. */
record Threshold(String name, double found, double limit) implements JUnitXml.Case {

    @Override
    public boolean met() {
        return found <= limit;
    }

    /** "2%" of a baseline, or an absolute increase. */
    static double increase(String text, double baseline) {
        try {
            String number = text.strip();
            double limit = number.endsWith("%")
                    ? baseline * Double.parseDouble(number.substring(0, number.length() - 1)) / 100
                    : Double.parseDouble(number);
            if (Double.isFinite(limit)) {
                return limit;
            }
        } catch (NumberFormatException _) {
            // said below
        }
        throw new UserError(UserError.Code.BAD_SETTING, "--max-increase " + text + ": expected 2% or 0.5");
    }
}
