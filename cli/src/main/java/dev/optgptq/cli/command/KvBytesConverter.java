package dev.optgptq.cli.command;

import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** 50% of the present KV cache, or 8192 bytes for each token. */
final class KvBytesConverter implements ITypeConverter<Heads> {

    private static final Pattern SIZE = Pattern.compile("([0-9]{1,12}(?:\\.[0-9]{1,6})?)(%?)");

    @Override
    public Heads convert(String value) {
        Matcher matcher = SIZE.matcher(value);
        if (!matcher.matches()) {
            throw wrong(value);
        }
        if (matcher.group(2).isEmpty()) {
            if (value.contains(".")) {
                throw wrong(value);
            }
            return new Heads.Bytes(Long.parseLong(value));
        }
        double percent = Double.parseDouble(matcher.group(1));
        if (!(percent > 0 && percent < 100)) {
            throw wrong(value);
        }
        return new Heads.Share(percent / 100);
    }

    private static TypeConversionException wrong(String value) {
        return new TypeConversionException(
                "expected a share such as 50%, between 0 and 100, or bytes for each token such as "
                        + "8192, found " + value);
    }
}
