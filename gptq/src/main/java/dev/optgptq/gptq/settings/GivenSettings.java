package dev.optgptq.gptq.settings;

import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The settings that a user gave. All others have their defaults, which may depend on these.
 *
 * @param values by setting, of its type
 * @param maxPositions the longest sequence that the model supports
 */
public record GivenSettings(Map<SettingSpec<?>, Object> values, int maxPositions) {

    public GivenSettings {
        values = Map.copyOf(values);
    }

    public boolean has(SettingSpec<?> setting) {
        return values.containsKey(setting);
    }

    /** The given value, else the default. */
    public <T> T get(SettingSpec<T> setting) {
        return Objects.requireNonNull(find(setting), setting.option());
    }

    /** The same; null if it has no default. */
    public <T> @Nullable T find(SettingSpec<T> setting) {
        Object given = values.get(setting);
        return given == null ? setting.defaultFor(this) : setting.type().cast(given);
    }
}
