package dev.optgptq.calibrate.family;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelConfig;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/** A config.json that remembers what was asked of it, so that what nobody asked for can be named. */
final class ConfigReader {

    private final ModelConfig config;
    private final Set<String> asked = new HashSet<>();

    ConfigReader(ModelConfig config) {
        this.config = config;
    }

    /** The file, for messages. */
    String file() {
        return config.file().toString();
    }

    /** The value at a dotted key; a missing node when absent. */
    JsonNode at(String key) {
        asked.add(key);
        return config.at(key);
    }

    /** True when the key is there and not null. */
    boolean has(String key) {
        asked.add(key);
        return config.has(key);
    }

    int positiveInt(String key) {
        asked.add(key);
        return config.positiveInt(key);
    }

    double number(String key) {
        asked.add(key);
        return config.number(key);
    }

    String text(String key) {
        asked.add(key);
        return config.text(key);
    }

    boolean flag(String key) {
        asked.add(key);
        return config.flag(key);
    }

    /** A number above 0. */
    double positive(String key) {
        double value = number(key);
        if (!(value > 0)) {
            throw bad(key + " is " + at(key) + "; expected a positive number");
        }
        return value;
    }

    UserError bad(String what) {
        return new UserError(UserError.Code.BAD_MODEL,
                file() + ": " + what + "; config.json is damaged or from another model");
    }

    UserError unsupported(String what) {
        return new UserError(UserError.Code.UNSUPPORTED_MODEL, file() + ": " + what);
    }

    /** Fields that are there, and that nobody has asked for and nobody lists; null says nothing and is not among them. */
    List<String> unread(Collection<String> listed) {
        Set<String> known = new HashSet<>(asked);
        known.addAll(listed);
        List<String> unread = new ArrayList<>();
        unread(config.json(), "", known, unread);
        return unread;
    }

    private static void unread(JsonNode object, String prefix, Set<String> known, List<String> unread) {
        for (Map.Entry<String, JsonNode> field : object.properties()) {
            String key = prefix + field.getKey();
            JsonNode value = field.getValue();
            if (value.isObject() && known.stream().anyMatch(name -> name.startsWith(key + "."))) {
                unread(value, key + ".", known, unread);
            } else if (!value.isNull() && !known.contains(key)) {
                unread.add(key);
            }
        }
    }
}
