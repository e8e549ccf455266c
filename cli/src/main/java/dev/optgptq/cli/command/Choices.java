package dev.optgptq.cli.command;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.solve.ActOrder;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Enums as options write them: in lower case. picocli wants one class for each. */
final class Choices {

    private Choices() {}

    static String label(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    private static List<String> labels(Class<? extends Enum<?>> type) {
        return Arrays.stream(type.getEnumConstants()).map(Choices::label).toList();
    }

    private static <E extends Enum<E>> E parse(Class<E> type, String value) {
        return Arrays.stream(type.getEnumConstants()).filter(constant -> label(constant).equals(value)).findFirst()
                .orElseThrow(() -> new TypeConversionException(
                        "expected one of " + String.join(", ", labels(type)) + ", found " + value));
    }

    static final class Calibrators implements ITypeConverter<CalibratorKind>, Iterable<String> {
        @Override
        public CalibratorKind convert(String value) {
            return parse(CalibratorKind.class, value);
        }

        @Override
        public Iterator<String> iterator() {
            return labels(CalibratorKind.class).iterator();
        }
    }

    static final class Fishers implements ITypeConverter<RefineOptions.Fisher>, Iterable<String> {
        @Override
        public RefineOptions.Fisher convert(String value) {
            return parse(RefineOptions.Fisher.class, value);
        }

        @Override
        public Iterator<String> iterator() {
            return labels(RefineOptions.Fisher.class).iterator();
        }
    }

    static final class ActOrders implements ITypeConverter<ActOrder>, Iterable<String> {
        @Override
        public ActOrder convert(String value) {
            return parse(ActOrder.class, value);
        }

        @Override
        public Iterator<String> iterator() {
            return labels(ActOrder.class).iterator();
        }
    }

    static final class Samplings implements ITypeConverter<Sampling>, Iterable<String> {
        @Override
        public Sampling convert(String value) {
            return parse(Sampling.class, value);
        }

        @Override
        public Iterator<String> iterator() {
            return labels(Sampling.class).iterator();
        }
    }

    static final class Precisions implements ITypeConverter<Precision>, Iterable<String> {
        @Override
        public Precision convert(String value) {
            return parse(Precision.class, value);
        }

        @Override
        public Iterator<String> iterator() {
            return labels(Precision.class).iterator();
        }
    }

    static final class Formats implements ITypeConverter<CheckpointFormat>, Iterable<String> {
        @Override
        public CheckpointFormat convert(String value) {
            return parse(CheckpointFormat.class, value);
        }

        @Override
        public Iterator<String> iterator() {
            return labels(CheckpointFormat.class).iterator();
        }
    }
}
