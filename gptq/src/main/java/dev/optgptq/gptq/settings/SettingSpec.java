package dev.optgptq.gptq.settings;

import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * One setting of quantize. The option, its help, the default, the report's entry and its part in a run's identity are
 * all derived from it.
 *
 * @param <T> type of its value: a box of a primitive, an enum or a path
 */
public final class SettingSpec<T> {

    private final Builder<T> made;

    private SettingSpec(Builder<T> made) {
        this.made = made;
    }

    /** A switch that is off unless it is given. */
    static Builder<Boolean> flag(SettingGroup group, String option) {
        return new Builder<>(group, option, "", Boolean.class).byDefault("", given -> false);
    }

    /** A switch that has a --no- form. */
    static Builder<Boolean> negatable(SettingGroup group, String option) {
        Builder<Boolean> builder = new Builder<>(group, option, "", Boolean.class);
        builder.negatable = true;
        return builder;
    }

    /** A setting with a value. */
    static <T> Builder<T> of(SettingGroup group, String option, String label, Class<T> type) {
        return new Builder<>(group, option, label, type);
    }

    public SettingGroup group() {
        return made.group;
    }

    /** "--bits". */
    public String option() {
        return made.option;
    }

    /** "N", what the help writes for the value; empty for a switch. */
    public String label() {
        return made.label;
    }

    public Class<T> type() {
        return made.type;
    }

    public boolean negatable() {
        return made.negatable;
    }

    /** What it does, and its default. */
    public String help() {
        return made.help + (made.defaultWords.isEmpty() ? "" : " Default: " + made.defaultWords);
    }

    /** The values of an enum, as users write them; empty for other types. */
    public List<String> choices() {
        T[] constants = type().getEnumConstants();
        return constants == null ? List.of() : Arrays.stream(constants).map(Object::toString).toList();
    }

    /** Null if it has no default. */
    @Nullable
    T defaultFor(GivenSettings given) {
        return made.defaultValue.apply(given);
    }

    /** Throws UserError BAD_SETTING for an invalid value. */
    void check(GivenSettings given) {
        Object value = given.values().get(this);
        if (value != null) {
            SettingChecks.require(made.allowed.test(type().cast(value)), option(), value, made.expected);
        }
    }

    /** Whether a run with these settings reads it; otherwise it is not mentioned. */
    public boolean isRead(QuantizeSettings settings) {
        return made.calibrators.contains(settings.solving().calibrator()) && made.where.test(settings);
    }

    /** The calibrators that read it. */
    public Set<CalibratorKind> calibrators() {
        return Set.copyOf(made.calibrators);
    }

    /** Whether it decides the bits of the checkpoint, otherwise than by choosing the calibration tokens or the matmul dtype. */
    boolean decidesBits(QuantizeSettings settings) {
        return isRead(settings) && made.decides.test(settings);
    }

    /** Its value, as users write it. */
    String value(QuantizeSettings settings) {
        return made.value.apply(settings).toString();
    }

    @Override
    public String toString() {
        return option();
    }

    /** Describes a setting. By default every calibrator reads it, and it does not affect the checkpoint's bits. */
    static final class Builder<T> {

        private final SettingGroup group;
        private final String option;
        private final String label;
        private final Class<T> type;
        private boolean negatable;
        private String help = "";
        private String defaultWords = "";
        private Function<GivenSettings, @Nullable T> defaultValue = given -> null;
        private Predicate<T> allowed = value -> true;
        private String expected = "";
        private Set<CalibratorKind> calibrators = EnumSet.allOf(CalibratorKind.class);
        private Predicate<QuantizeSettings> where = settings -> true;
        private Predicate<QuantizeSettings> decides = settings -> false;
        private Function<QuantizeSettings, Object> value = settings -> "";

        private Builder(SettingGroup group, String option, String label, Class<T> type) {
            this.group = group;
            this.option = option;
            this.label = label;
            this.type = type;
        }

        /** What it does. */
        Builder<T> help(String words) {
            help = words;
            return this;
        }

        Builder<T> byDefault(T constant) {
            String words = negatable ? (constant.equals(true) ? "" : "no-") + option.substring(2) : constant.toString();
            return byDefault(negatable ? "--" + words : words, given -> constant);
        }

        /**
         * A default that follows from other settings.
         *
         * @param words for the help
         */
        Builder<T> byDefault(String words, Function<GivenSettings, @Nullable T> following) {
            defaultWords = words;
            defaultValue = following;
            return this;
        }

        Builder<T> allows(String rule, Predicate<T> values) {
            expected = rule;
            allowed = values;
            return this;
        }

        Builder<T> oneOf(List<T> values) {
            String words = values.stream().map(Object::toString).collect(Collectors.joining(", "));
            return allows("one of " + words, values::contains);
        }

        Builder<T> readBy(CalibratorKind first, CalibratorKind... others) {
            calibrators = EnumSet.of(first, others);
            return this;
        }

        /** Only some runs of these calibrators read it. */
        Builder<T> where(Predicate<QuantizeSettings> reads) {
            where = reads;
            return this;
        }

        Builder<T> decidesBits() {
            return decidesBitsWhere(settings -> true);
        }

        Builder<T> decidesBitsWhere(Predicate<QuantizeSettings> holds) {
            decides = holds;
            return this;
        }

        /** @param reader reads it from the settings of a run */
        SettingSpec<T> value(Function<QuantizeSettings, Object> reader) {
            value = reader;
            return new SettingSpec<>(this);
        }
    }
}
