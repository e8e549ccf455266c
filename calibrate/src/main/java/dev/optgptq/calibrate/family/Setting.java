package dev.optgptq.calibrate.family;

import com.fasterxml.jackson.annotation.JsonCreator;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.MissingNode;

/**
 * Where a family's description finds a value. Written as a number or boolean it is that constant; as a string it is a
 * key of config.json; as an object it is a key with a default, for flags the value that means yes, and for numbers a power to
 * which the value is raised:
 *
 * <pre>
 *   8      "hidden_size"      {"key": "rms_norm_eps", "default": 1e-6}      {"key": "no_bias", "when": false}
 *   {"key": "query_pre_attn_scalar", "power": -0.5}
 * </pre>
 *
 * A number may stand in config.json as a list, with one for each block.
 *
 * @param key dotted key of config.json; empty for a constant
 * @param otherwise the constant, or the value where the key is absent or null; a missing node when there is none
 * @param when the value that makes a flag true
 * @param power to which a number is raised
 * @param nullable whether a null in config.json means none, and not the default
 */
record Setting(String key, JsonNode otherwise, boolean when, double power, boolean nullable) {

    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    static Setting of(JsonNode written) {
        if (written.isString()) {
            return new Setting(written.stringValue(), MissingNode.getInstance(), true, 1, false);
        }
        if (written.isObject()) {
            return new Setting(written.path("key").stringValue(), written.path("default"),
                    written.path("when").booleanValue(true), written.path("power").doubleValue(1),
                    written.path("nullable").booleanValue(false));
        }
        return new Setting("", written, true, 1, false);
    }

    int positiveInt(ConfigReader config) {
        return usesConfig(config) ? config.positiveInt(key) : otherwise.intValue();
    }

    /** Of one block, where there is one for each. */
    int positiveInt(ConfigReader config, int block) {
        if (usesConfig(config) && config.at(key).isArray()) {
            JsonNode list = config.at(key);
            JsonNode value = list.path(block);
            if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() <= 0) {
                throw config
                        .bad(key + "[" + block + "] is " + value + "; expected a whole number from 1 to 2147483647");
            }
            return value.intValue();
        }
        return positiveInt(config);
    }

    double number(ConfigReader config) {
        double value = usesConfig(config) ? config.number(key) : otherwise.doubleValue();
        return power == 1 ? value : Math.pow(value, power);
    }

    String text(ConfigReader config) {
        return usesConfig(config) ? config.text(key) : otherwise.stringValue();
    }

    boolean flag(ConfigReader config) {
        boolean value = usesConfig(config) ? config.flag(key) : otherwise.booleanValue();
        return value == when;
    }

    /** Of a part of a description that may be absent. */
    static boolean optionalFlag(@Nullable Setting setting, ConfigReader config) {
        return setting != null && setting.flag(config);
    }

    /** For sizes that are derived from others unless given. */
    static Optional<Integer> optionalInt(@Nullable Setting setting, ConfigReader config, int block) {
        return setting != null && setting.isGiven(config)
                ? Optional.of(setting.positiveInt(config, block))
                : Optional.empty();
    }

    static Optional<Double> optionalNumber(@Nullable Setting setting, ConfigReader config) {
        return setting != null && setting.isGiven(config) ? Optional.of(setting.number(config)) : Optional.empty();
    }

    boolean isGiven(ConfigReader config) {
        if (!key.isEmpty() && (config.has(key) || (nullable && config.at(key).isNull()))) {
            return config.has(key);
        }
        return !otherwise.isMissingNode();
    }

    /** Without a fallback, the config's own look-up reports what is missing. */
    private boolean usesConfig(ConfigReader config) {
        return !key.isEmpty() && (config.has(key) || otherwise.isMissingNode());
    }
}
