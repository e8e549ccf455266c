package dev.optgptq.cli.command;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** 512M or 8G, in powers of 1024. */
final class BytesConverter implements ITypeConverter<Long> {

    private static final Pattern SIZE = Pattern.compile("([0-9]{1,9})([KMGT]?)");

    @Override
    public Long convert(String value) {
        Matcher matcher = SIZE.matcher(value);
        if (!matcher.matches() || matcher.group(1).matches("0+")) {
            throw new TypeConversionException("expected a size such as 512M or 8G, found " + value);
        }
        int power = " KMGT".indexOf(matcher.group(2).isEmpty() ? ' ' : matcher.group(2).charAt(0));
        return Long.parseLong(matcher.group(1)) << (10 * power);
    }
}
