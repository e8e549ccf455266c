package dev.optgptq.calibrate.family;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelConfig;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** A config.json that records which fields were read, so that unread ones can be named. */
final class ConfigReader {

    private static final String TEXT = "text_config";
    private static final String TIED = "tie_word_embeddings";

    private final ModelConfig config;
    private final @Nullable String outer;
    private final Set<String> asked;

    private ConfigReader(ModelConfig config, @Nullable String outer, Set<String> asked) {
        this.config = config;
        this.outer = outer;
        this.asked = asked;
    }

    /** Of a model of text and more its text part. */
    static ConfigReader of(ModelConfig config) {
        if (!(config.at(TEXT) instanceof ObjectNode written)) {
            return new ConfigReader(config, null, new HashSet<>());
        }
        ObjectNode text = written.deepCopy();
        if (!text.has(TIED) && config.has(TIED)) {
            text.set(TIED, config.at(TIED)); // said of the whole
        }
        return new ConfigReader(new ModelConfig(text, config.file().resolveSibling(config.file().getFileName()
                + ", " + TEXT)), config.at("model_type").asString("unnamed"), new HashSet<>());
    }

    /** The same with a value where the key is absent or null; shares the record of what was read. */
    ConfigReader withDefault(String key, JsonNode value) {
        ObjectNode changed = (ObjectNode) config.json().deepCopy();
        changed.set(key, value);
        return config.has(key) ? this : new ConfigReader(new ModelConfig(changed, config.file()), outer, asked);
    }

    /**
     * The same with fields under the names that a description has for them.
     *
     * @param aliases by that name, the other names; both may be there with the same value
     */
    ConfigReader renamed(Map<String, List<String>> aliases) {
        ObjectNode changed = (ObjectNode) config.json().deepCopy();
        aliases.forEach((name, others) -> {
            for (String other : others) {
                if (changed.hasNonNull(other)) {
                    if (changed.hasNonNull(name) && !changed.path(name).equals(changed.path(other))) {
                        throw bad(name + " is " + changed.path(name) + " and " + other + ", another name of it, is "
                                + changed.path(other));
                    }
                    changed.set(name, changed.remove(other));
                }
            }
        });
        return new ConfigReader(new ModelConfig(changed, config.file()), outer, asked);
    }

    /** The model_type of the whole, where this is its text part; null where this is all. */
    @Nullable
    String outer() {
        return outer;
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

    /** Fields that exist, were not read and are not listed; null values are ignored. */
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
