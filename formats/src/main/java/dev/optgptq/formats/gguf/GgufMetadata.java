package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelConfig;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;

/**
 * The entries of an architecture, worked out from config.json as a description says. An entry is an object, or a list of which
 * the first whose "when" holds counts. Its type is "u32", "f32" or "flag", with the key of config.json or a constant; "text", a
 * constant; "flags", a key with a list, true where an element is the one at "equal"; or "u32s", a key with one number for all layers or a
 * list with one for each.
 */
final class GgufMetadata {

    private final ModelConfig config;

    private GgufMetadata(ModelConfig config) {
        this.config = config;
    }

    /** Under the architecture's prefix, in the order of the description. */
    static SequencedMap<String, GgufValue> of(JsonNode entries, String architecture, ModelConfig config) {
        GgufMetadata reader = new GgufMetadata(config);
        SequencedMap<String, GgufValue> metadata = new LinkedHashMap<>();
        entries.propertyStream().forEach(entry -> reader.chosen(entry.getValue()).flatMap(reader::value)
                .ifPresent(value -> metadata.put(architecture + "." + entry.getKey(), value)));
        return metadata;
    }

    /** The number that one entry of type "f32" comes to. */
    static double number(JsonNode entry, ModelConfig config) {
        return new GgufMetadata(config).number(entry, entry.path("f32")).orElseThrow();
    }

    private Optional<JsonNode> chosen(JsonNode entry) {
        return (entry.isArray() ? entry.valueStream() : List.of(entry).stream())
                .filter(choice -> GgufConditions.hold(choice.path("when"), config)).findFirst();
    }

    private Optional<GgufValue> value(JsonNode source) {
        if (source.has("text")) {
            return Optional.of(new GgufValue.Text(source.path("text").stringValue()));
        }
        if (source.has("flag")) {
            String key = source.path("flag").stringValue();
            return Optional
                    .of(new GgufValue.Flag(config.has(key) ? config.flag(key) : source.path("default").booleanValue()));
        }
        if (source.has("flags")) {
            JsonNode list = config.at(source.path("flags").stringValue());
            return list.isArray()
                    ? Optional.of(new GgufValue.Flags(
                            list.valueStream().map(element -> element.equals(source.path("equal"))).toList()))
                    : Optional.empty();
        }
        if (source.has("u32s")) {
            String key = source.path("u32s").stringValue();
            JsonNode found = config.at(key);
            if (!found.isArray()) {
                return Optional.of(new GgufValue.U32(config.positiveInt(key)));
            }
            List<Integer> layers = found.valueStream().map(layer -> whole(source, layer.asDouble(0))).toList();
            return Optional.of(new GgufValue.Integers(layers));
        }
        if (source.has("f32")) {
            return number(source, source.path("f32")).map(value -> new GgufValue.F32(value.floatValue()));
        }
        return number(source, source.path("u32")).map(value -> new GgufValue.U32(whole(source, value)));
    }

    private Optional<Double> number(JsonNode source, JsonNode key) {
        Optional<Double> found = key.isNumber() ? Optional.of(key.doubleValue()) : number(source, key.stringValue());
        String plus = source.path("plus").asString("");
        String times = source.path("times").asString("");
        String atMost = source.path("atMost").asString("");
        double factor = (times.isEmpty() ? 1 : config.number(times)) * share(source);
        double limit = config.has(atMost) ? config.number(atMost) : Double.POSITIVE_INFINITY;
        double added = plus.isEmpty() ? 0 : config.number(plus);
        return found.map(value -> Math.min((value + added) * factor, limit));
    }

    private Optional<Double> number(JsonNode source, String key) {
        if (config.has(key)) {
            return Optional.of(config.number(key));
        }
        if (source.path("else").isString()) {
            return Optional.of(config.number(source.path("else").stringValue()));
        }
        if (source.path("quotient").isArray()) {
            return Optional.of(config.number(source.path("quotient").path(0).stringValue())
                    / config.number(source.path("quotient").path(1).stringValue()));
        }
        if (source.path("default").isNumber()) {
            return Optional.of(source.path("default").doubleValue());
        }
        return source.path("optional").asBoolean(false) ? Optional.empty() : Optional.of(config.number(key));
    }

    /** The first of some keys that is there, else a default; 1 where there are no keys. */
    private double share(JsonNode source) {
        return source.path("share").valueStream().map(JsonNode::stringValue).filter(config::has).findFirst()
                .map(config::number).orElse(source.path("shareDefault").asDouble(1));
    }

    private int whole(JsonNode source, double value) {
        // Transformers cuts the turning part of a head down: int(head_dim * partial_rotary_factor).
        double number = source.has("share") ? Math.floor(value) : value;
        boolean zero = source.path("zero").asBoolean(false);
        if (number != Math.rint(number) || number < (zero ? 0 : 1) || number > Integer.MAX_VALUE) {
            throw new UserError(Code.BAD_MODEL, config.file() + ": expected "
                    + (zero ? "0 or a whole number above it" : "a whole number above 0") + " at '"
                    + source.path("u32").asString(source.path("u32s").asString("")) + "', found " + value
                    + "; correct the file or fetch it again");
        }
        return (int) number;
    }
}
