package dev.optgptq.cli.command;

import dev.optgptq.kernels.ops.CacheType;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** float16 or int8. */
final class CacheTypeConverter implements ITypeConverter<CacheType>, Iterable<String> {

    private static final List<String> WORDS = Arrays.stream(CacheType.values()).map(CacheType::word).toList();

    @Override
    public CacheType convert(String value) {
        return Arrays.stream(CacheType.values()).filter(type -> type.word().equals(value)).findFirst()
                .orElseThrow(() -> new TypeConversionException(
                        "expected one of " + String.join(", ", WORDS) + ", found " + value));
    }

    @Override
    public Iterator<String> iterator() {
        return WORDS.iterator();
    }
}
