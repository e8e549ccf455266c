package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The names of a model family in GGUF: its architecture, its metadata by keys of config.json, its tensors by their
 * names on disk. One description per family, in this package's resources.
 */
final class GgufFamily {

    private static final List<String> FAMILIES = List.of("llama", "mpt", "qwen2", "qwen3", "gpt2", "gpt_neox");

    private final ObjectNode description;
    private final ModelConfig config;
    private final Map<Pattern, String> tensors = new LinkedHashMap<>();
    private final List<Pattern> unused = new ArrayList<>();

    private GgufFamily(ObjectNode description, ModelConfig config) {
        this.description = description;
        this.config = config;
        description.path("tensors").propertyStream()
                .forEach(entry -> tensors.put(pattern(entry.getKey()), entry.getValue().stringValue()));
        description.path("unused").valueStream().forEach(name -> unused.add(pattern(name.stringValue())));
    }

    /** Throws UserError UNSUPPORTED_MODEL for a model that no description is for, or that GGUF cannot represent. */
    static GgufFamily of(ModelConfig config) {
        String type = config.text("model_type");
        for (String name : FAMILIES) {
            ObjectNode description = read(name + ".json");
            if (description.path("modelTypes").valueStream().anyMatch(known -> known.stringValue().equals(type))) {
                GgufFamily family = new GgufFamily(description, config);
                family.requireSupported();
                return family;
            }
        }
        throw new UserError(Code.UNSUPPORTED_MODEL,
                config.file() + ": expected a model_type that is exported to GGUF, of "
                        + FAMILIES + ", found " + Json.kind(config.at("model_type")) + "; use its checkpoint as it is");
    }

    private static ObjectNode read(String resource) {
        try (InputStream in = GgufFamily.class.getResourceAsStream(resource)) {
            if (in == null) {
                throw new IllegalStateException(resource + " is missing");
            }
            return Json.parseObject(Json.decodeUtf8(ByteBuffer.wrap(in.readAllBytes()), resource, Code.BAD_MODEL),
                    resource,
                    Code.BAD_MODEL);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Pattern pattern(String name) {
        return Pattern.compile(Pattern.quote(name).replace("{}", "\\E(\\d+)\\Q"));
    }

    private void requireSupported() {
        description.path("supported").propertyStream().forEach(entry -> {
            JsonNode found = config.at(entry.getKey());
            boolean absent = !config.has(entry.getKey());
            if (entry.getValue().valueStream().noneMatch(value -> value.isNull() ? absent : same(value, found))) {
                throw new UserError(Code.UNSUPPORTED_MODEL, config.file() + ": expected " + entry.getValue() + " at '"
                        + entry.getKey() + "', which is what llama.cpp computes, found " + Json.kind(found)
                        + "; use the checkpoint as it is");
            }
        });
    }

    private static boolean same(JsonNode one, JsonNode other) {
        return (one.isNumber() && other.isNumber()) ? one.doubleValue() == other.doubleValue() : one.equals(other);
    }

    String architecture() {
        return description.path("architecture").stringValue();
    }

    int vocabulary() {
        return config.positiveInt("vocab_size");
    }

    /** Whether a model without a head of its own multiplies by its embedding. */
    boolean isTied() {
        JsonNode tied = description.path("tied");
        String key = tied.path("key").stringValue();
        return config.has(key) ? config.flag(key) : tied.path("default").booleanValue();
    }

    /** All of the architecture's entries. */
    SequencedMap<String, GgufValue> metadata() {
        SequencedMap<String, GgufValue> metadata = new LinkedHashMap<>();
        description.path("metadata").propertyStream().forEach(entry -> value(entry.getValue())
                .ifPresent(value -> metadata.put(architecture() + "." + entry.getKey(), value)));
        if (description.path("rotary").booleanValue()) {
            GgufRotary.put(config, architecture(), takesRotaryFactors(), metadata);
        }
        return metadata;
    }

    /** By which each pair's frequency is divided, where the runtime takes them from a tensor; empty where there are none. */
    Optional<float[]> rotaryFactors(SequencedMap<String, GgufValue> metadata) {
        return takesRotaryFactors()
                && metadata.get(architecture() + ".rope.dimension_count") instanceof GgufValue.U32 width
                        ? GgufRotary.factors(config, width.value())
                        : Optional.empty();
    }

    private boolean takesRotaryFactors() {
        return description.path("rotaryFactors").asBoolean(false);
    }

    private Optional<GgufValue> value(JsonNode source) {
        if (source.path("flag").isString()) {
            String key = source.path("flag").stringValue();
            return Optional
                    .of(new GgufValue.Flag(config.has(key) ? config.flag(key) : source.path("default").booleanValue()));
        }
        if (source.path("f32").isString()) {
            return number(source, source.path("f32").stringValue()).map(value -> new GgufValue.F32(value.floatValue()));
        }
        Optional<Double> whole = number(source, source.path("u32").stringValue());
        String times = source.path("times").asString("");
        double factor = times.isEmpty() ? 1 : config.positiveInt(times);
        return whole.map(value -> new GgufValue.U32(whole(source, value * factor * share(source))));
    }

    /** The first of some keys that is there, else a default; 1 where there are no keys. */
    private double share(JsonNode source) {
        return source.path("share").valueStream().map(JsonNode::stringValue).filter(config::has).findFirst()
                .map(config::number).orElse(source.path("shareDefault").asDouble(1));
    }

    private int whole(JsonNode source, double value) {
        if (value != Math.rint(value) || value <= 0 || value > Integer.MAX_VALUE) {
            throw new UserError(Code.BAD_MODEL, config.file() + ": expected a whole number above 0 at '"
                    + source.path("u32").stringValue() + "', found " + value + "; correct the file or fetch it again");
        }
        return (int) value;
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

    /**
     * The name of a module ("model.norm", "model.layers.3.mlp.up_proj"), empty when no runtime needs it. Throws UserError
     * UNSUPPORTED_MODEL for one that the architecture does not have.
     */
    Optional<String> tensor(String module) {
        for (Map.Entry<Pattern, String> entry : tensors.entrySet()) {
            Matcher matcher = entry.getKey().matcher(module);
            if (matcher.matches()) {
                return Optional.of(matcher.groupCount() == 0
                        ? entry.getValue()
                        : entry.getValue().replace("{}", matcher.group(1)));
            }
        }
        if (unused.stream().anyMatch(pattern -> pattern.matcher(module).matches())) {
            return Optional.empty();
        }
        throw new UserError(Code.UNSUPPORTED_MODEL, config.file() + ": expected only tensors that the architecture '"
                + architecture() + "' has in GGUF, found '" + module + "'; use the checkpoint as it is");
    }

    /**
     * The heads of a tensor whose rows are stored in pairs that turn together, where a checkpoint has the first halves of a
     * head before the second; 0 for every other tensor.
     */
    int interleavedHeads(String tensor, SequencedMap<String, GgufValue> metadata) {
        return heads("interleaved", tensor, metadata);
    }

    /** The heads of a tensor of queries, keys and values that a checkpoint has head by head; 0 for every other tensor. */
    int headsOfFused(String tensor, SequencedMap<String, GgufValue> metadata) {
        return heads("perHead", tensor, metadata);
    }

    /** Whether a checkpoint has a matrix as [in, out]. */
    boolean isTransposed(String tensor) {
        return description.path("transposed").valueStream()
                .anyMatch(name -> name.stringValue().equals(tensor.substring(tensor.lastIndexOf('.') + 1)));
    }

    private int heads(String how, String tensor, SequencedMap<String, GgufValue> metadata) {
        JsonNode heads = description.path(how).path(tensor.substring(tensor.lastIndexOf('.') + 1));
        return heads.isString()
                && metadata.get(architecture() + "." + heads.stringValue()) instanceof GgufValue.U32 count
                        ? count.value()
                        : 0;
    }
}
