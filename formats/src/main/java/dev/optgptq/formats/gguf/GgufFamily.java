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
import java.util.Set;
import java.util.function.IntUnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The names of a model family in GGUF: its architecture, its metadata by keys of config.json, its tensors by their
 * names on disk. One description per family, in this package's resources.
 */
final class GgufFamily {

    private static final List<String> FAMILIES = List.of("llama", "mpt", "qwen2", "qwen3", "gpt2", "gpt_neox", "bloom",
            "falcon", "mixtral", "gemma2", "gemma3", "phi2", "phi3", "starcoder2", "olmo2", "granite", "stablelm",
            "qwen2_moe",
            "qwen3_moe", "cohere2", "glm4", "exaone4", "smollm3", "seed_oss");

    private final ObjectNode description;
    private final ModelConfig config;
    private final SequencedMap<String, GgufValue> metadata;
    private final Optional<GgufRotary> rotary;
    private final Map<Pattern, String> tensors = new LinkedHashMap<>();
    private final List<Pattern> unused = new ArrayList<>();

    private GgufFamily(ObjectNode description, ModelConfig config) {
        this.description = description;
        this.config = config;
        this.metadata = GgufMetadata.of(description.path("metadata"), architecture(), config);
        this.rotary = rotary();
        rotary.ifPresent(embedding -> embedding.put(architecture(), metadata));
        description.path("tensors").propertyStream()
                .forEach(entry -> tensors.put(pattern(entry.getKey()), entry.getValue().stringValue()));
        description.path("unused").valueStream().forEach(name -> unused.add(pattern(name.stringValue())));
    }

    /** Throws UserError UNSUPPORTED_MODEL for a model that no description is for, or that GGUF cannot represent. */
    static GgufFamily of(ModelConfig config) {
        String type = config.text("model_type");
        for (String name : FAMILIES) {
            ObjectNode description = read(name);
            if (description.path("modelTypes").valueStream().anyMatch(known -> known.stringValue().equals(type))) {
                GgufConditions.require(description.path("supported"), config);
                return new GgufFamily(description, config);
            }
        }
        throw new UserError(Code.UNSUPPORTED_MODEL,
                config.file() + ": expected a model_type that is exported to GGUF, of "
                        + FAMILIES + ", found " + Json.kind(config.at("model_type")) + "; use its checkpoint as it is");
    }

    /** A description, over the one that it is "like": its parts replace those of the same name, and null takes one away. */
    private static ObjectNode read(String name) {
        ObjectNode own = resource(name + ".json");
        if (!own.has("like")) {
            return own;
        }
        ObjectNode whole = read(own.path("like").stringValue());
        own.propertyStream().forEach(part -> {
            if (part.getValue().isObject() && whole.path(part.getKey()) instanceof ObjectNode base) {
                part.getValue().propertyStream().forEach(entry -> base.set(entry.getKey(), entry.getValue()));
                base.removeIf(JsonNode::isNull);
            } else {
                whole.set(part.getKey(), part.getValue());
            }
        });
        return whole;
    }

    private static ObjectNode resource(String name) {
        try (InputStream in = GgufFamily.class.getResourceAsStream(name)) {
            if (in == null) {
                throw new IllegalStateException(name + " is missing");
            }
            return Json.parseObject(Json.decodeUtf8(ByteBuffer.wrap(in.readAllBytes()), name, Code.BAD_MODEL), name,
                    Code.BAD_MODEL);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Pattern pattern(String name) {
        return Pattern.compile(Pattern.quote(name).replace("{}", "\\E(\\d+)\\Q"));
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
        return metadata;
    }

    private Optional<GgufRotary> rotary() {
        if (!description.has("rotary")) {
            return Optional.empty();
        }
        Set<String> factors = description.path("rotaryFactors").valueStream().map(JsonNode::stringValue)
                .collect(Collectors.toSet());
        return Optional.of(new GgufRotary(config, GgufMetadata.number(description.path("rotary"), config), factors));
    }

    /** Tensors by which the frequencies of pairs are divided, by name; none where there are none. */
    SequencedMap<String, float[]> rotaryFactors() {
        return rotary.map(embedding -> embedding.factors(count("rope.dimension_count"))).orElseGet(LinkedHashMap::new);
    }

    /**
     * What a module is in the file.
     *
     * @param name without ".weight"
     * @param member which of the matrices or vectors that are stored as one tensor, from 0; -1 where it is a tensor by itself
     */
    record Place(String name, int member) {}

    /**
     * The place of a module ("model.norm", "model.layers.3.mlp.up_proj"), empty when no runtime needs it. Throws UserError
     * UNSUPPORTED_MODEL for one that the architecture does not have.
     */
    Optional<Place> place(String module) {
        for (Map.Entry<Pattern, String> entry : tensors.entrySet()) {
            Matcher matcher = entry.getKey().matcher(module);
            if (matcher.matches()) {
                String name = matcher.groupCount() == 0
                        ? entry.getValue()
                        : entry.getValue().replace("{}", matcher.group(1));
                return Optional.of(new Place(name, matcher.groupCount() < 2 ? -1 : Integer.parseInt(matcher.group(2))));
            }
        }
        if (unused.stream().anyMatch(pattern -> pattern.matcher(module).matches())) {
            return Optional.empty();
        }
        throw new UserError(Code.UNSUPPORTED_MODEL, config.file() + ": expected only tensors that the architecture '"
                + architecture() + "' has in GGUF, found '" + module + "'; use the checkpoint as it is");
    }

    /**
     * Row r of the file is this row of the checkpoint. Rotary pairs are neighbours in GGUF's llama, and half a head apart in a
     * checkpoint ("pairs", of so many heads). Queries, keys and values that a checkpoint has KV head by KV head, each after its
     * queries, are three blocks in GGUF ("groups", of so many queries). In convert_hf_to_gguf.py: permute, and the classes of the families.
     */
    IntUnaryOperator rows(String tensor, int rows) {
        JsonNode order = description.path("rows").path(last(tensor));
        if (order.has("pairs")) {
            int headDim = rows / count(order.path("pairs").stringValue());
            return row -> {
                int inHead = row % headDim;
                return row - inHead + inHead % 2 * (headDim / 2) + inHead / 2;
            };
        }
        if (order.has("groups")) {
            int groups = count(order.path("groups").stringValue());
            int queries = count(order.path("queries").stringValue()) / groups;
            int width = rows / (groups * (queries + 2));
            return row -> {
                int head = row / width;
                int other = head - groups * queries;
                int source = other < 0
                        ? head / queries * (queries + 2) + head % queries
                        : other % groups * (queries + 2) + queries + other / groups;
                return source * width + row % width;
            };
        }
        return row -> row;
    }

    private int count(String key) {
        if (metadata.get(architecture() + "." + key) instanceof GgufValue.U32 count) {
            return count.value();
        }
        throw new IllegalStateException(architecture() + " has no count " + key);
    }

    /** Whether a checkpoint has a matrix as [in, out]. */
    boolean isTransposed(String tensor) {
        return lists("transposed", tensor);
    }

    /** Whether a matrix is stored as floats: llama.cpp reads routers so. */
    boolean isFloat32(String tensor) {
        return lists("float32", tensor);
    }

    /** What is added to a norm's weights: the family multiplies by 1 + w, llama.cpp by w. */
    float added(String tensor) {
        return lists("plusOne", tensor) ? 1 : 0;
    }

    /** Whether the runtime asks for a head even where a model has none of its own. */
    boolean needsHead() {
        return description.path("needsHead").asBoolean(false);
    }

    /** Whether a matrix of one row is a vector there. */
    boolean isVector(String tensor) {
        return lists("vectors", tensor);
    }

    private boolean lists(String part, String tensor) {
        return description.path(part).valueStream().anyMatch(name -> name.stringValue().equals(last(tensor)));
    }

    /** "attn_q" of "blk.3.attn_q". */
    private static String last(String tensor) {
        return tensor.substring(tensor.lastIndexOf('.') + 1);
    }
}
