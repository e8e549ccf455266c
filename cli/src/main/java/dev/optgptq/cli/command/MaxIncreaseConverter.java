package dev.optgptq.cli.command;

import dev.optgptq.cli.eval.MaxIncrease;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** "2%" or "0.5". */
final class MaxIncreaseConverter implements ITypeConverter<MaxIncrease> {

    @Override
    public MaxIncrease convert(String value) {
        try {
            return MaxIncrease.parse(value);
        } catch (NumberFormatException ignored) {
            throw new TypeConversionException(
                    "expected a share such as 2% or a difference such as 0.5, found " + value);
        }
    }
}
