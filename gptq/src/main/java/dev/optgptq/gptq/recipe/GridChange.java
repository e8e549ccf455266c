package dev.optgptq.gptq.recipe;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How modules differ from the others; null where they do not.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale, -1 for all
 */
record GridChange(@Nullable Integer bits, @Nullable Integer groupSize,
        @Nullable Boolean symmetric) implements ModuleRule.Action {

    static final GridChange NONE = new GridChange(null, null, null);

    /**
     * This and one setting more.
     *
     * @param key "bits", "group" or "sym"
     * @param source for messages
     * @throws UserError BAD_SETTING for an unknown key, a value that cannot be, or a key that is there already
     */
    GridChange with(String key, String value, String source) {
        boolean twice = switch (key) {
            case "bits" -> bits != null;
            case "group" -> groupSize != null;
            case "sym" -> symmetric != null;
            default -> throw new UserError(Code.BAD_SETTING,
                    source + ": expected bits, group or sym, found '" + key + "'");
        };
        if (twice) {
            throw new UserError(Code.BAD_SETTING, source + ": expected " + key + " once, found it twice");
        }
        return switch (key) {
            case "bits" -> new GridChange(bits(value, source), groupSize, symmetric);
            case "group" -> new GridChange(bits, groupSize(value, source), symmetric);
            default -> new GridChange(bits, groupSize, symmetric(value, source));
        };
    }

    private static int bits(String value, String source) {
        Integer bits = number(value);
        if (bits == null || !PackedGrid.BITS.contains(bits)) {
            throw wrong("bits", "2, 3, 4 or 8", value, source);
        }
        return bits;
    }

    private static int groupSize(String value, String source) {
        Integer size = number(value);
        if (size == null || (size < 1 && size != QuantizationConfig.ONE_GROUP)) {
            throw wrong("group", "the inputs of a group, or -1 for one group per output", value, source);
        }
        return size;
    }

    private static boolean symmetric(String value, String source) {
        return switch (value) {
            case "true" -> true;
            case "false" -> false;
            default -> throw wrong("sym", "true or false", value, source);
        };
    }

    private static @Nullable Integer number(String value) {
        try {
            return Integer.valueOf(value);
        } catch (NumberFormatException notOne) {
            return null;
        }
    }

    private static UserError wrong(String key, String expected, String found, String source) {
        return new UserError(Code.BAD_SETTING,
                source + ": expected " + expected + " for " + key + ", found '" + found + "'");
    }

    /** Whether both name a setting and want something else of it. */
    boolean contradicts(GridChange other) {
        return differ(bits, other.bits) || differ(groupSize, other.groupSize) || differ(symmetric, other.symmetric);
    }

    private static boolean differ(@Nullable Object one, @Nullable Object other) {
        return one != null && other != null && !one.equals(other);
    }

    /** Both; they must not contradict. */
    GridChange and(GridChange other) {
        return new GridChange(bits == null ? other.bits : bits, groupSize == null ? other.groupSize : groupSize,
                symmetric == null ? other.symmetric : symmetric);
    }

    PackedGrid of(PackedGrid common) {
        return new PackedGrid(Objects.requireNonNullElse(bits, common.bits()),
                Objects.requireNonNullElse(groupSize, common.groupSize()),
                Objects.requireNonNullElse(symmetric, common.symmetric()), common.descAct());
    }
}
