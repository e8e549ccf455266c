package dev.optgptq.calibrate.family;

import com.fasterxml.jackson.annotation.JsonCreator;
import dev.optgptq.formats.model.ModelConfig;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.MissingNode;

/**
 * Where a family's description finds a value. Written as a number or boolean it is that constant; as a string it is a
 * key of config.json; as an object it is a key with a default, and, for flags, the value that means yes:
 *
 * <pre>
 *   8      "hidden_size"      {"key": "rms_norm_eps", "default": 1e-6}      {"key": "no_bias", "when": false}
 * </pre>
 *
 * @param key dotted key of config.json; empty for a constant
 * @param otherwise the constant, or the value where the key is absent or null; a missing node when there is none
 * @param when the value that makes a flag true
 */
record Setting(String key, JsonNode otherwise, boolean when) {

    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    static Setting of(JsonNode written) {
        if (written.isString()) {
            return new Setting(written.stringValue(), MissingNode.getInstance(), true);
        }
        if (written.isObject()) {
            return new Setting(written.path("key").stringValue(), written.path("default"),
                    written.path("when").booleanValue(true));
        }
        return new Setting("", written, true);
    }

    int positiveInt(ModelConfig config) {
        return usesConfig(config) ? config.positiveInt(key) : otherwise.intValue();
    }

    double number(ModelConfig config) {
        return usesConfig(config) ? config.number(key) : otherwise.doubleValue();
    }

    String text(ModelConfig config) {
        return usesConfig(config) ? config.text(key) : otherwise.stringValue();
    }

    boolean flag(ModelConfig config) {
        boolean value = usesConfig(config) ? config.flag(key) : otherwise.booleanValue();
        return value == when;
    }

    /** For sizes that follow from others unless they are given. */
    static Optional<Integer> optionalInt(@Nullable Setting setting, ModelConfig config) {
        return setting != null && setting.isGiven(config) ? Optional.of(setting.positiveInt(config)) : Optional.empty();
    }

    static Optional<Double> optionalNumber(@Nullable Setting setting, ModelConfig config) {
        return setting != null && setting.isGiven(config) ? Optional.of(setting.number(config)) : Optional.empty();
    }

    private boolean isGiven(ModelConfig config) {
        return config.has(key) || !otherwise.isMissingNode();
    }

    /** Where there is nothing to fall back on, the config's own look-up says what is missing. */
    private boolean usesConfig(ModelConfig config) {
        return config.has(key) || otherwise.isMissingNode();
    }
}
