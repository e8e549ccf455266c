package dev.optgptq.cli.command;

import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** "98%" or "0.98": a share from 0 to 1. */
final class ShareConverter implements ITypeConverter<Double> {

    private static final String PERCENT = "%";

    @Override
    public Double convert(String value) {
        boolean percent = value.endsWith(PERCENT);
        try {
            double number = Double.parseDouble(percent ? value.substring(0, value.length() - 1) : value);
            double share = percent ? number / 100 : number;
            if (share >= 0 && share <= 1) {
                return share;
            }
        } catch (NumberFormatException ignored) {
            // reported below, like a number out of range
        }
        throw new TypeConversionException("expected a share such as 98% or 0.98, found " + value);
    }
}
