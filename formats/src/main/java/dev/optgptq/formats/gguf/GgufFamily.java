package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The names of a model family in GGUF: its architecture, its metadata by keys of config.json, its tensors by their
 * names on disk. One description per family, in this package's resources.
 */
final class GgufFamily {

    private static final List<String> FAMILIES = List.of("llama", "mpt", "qwen2", "qwen3", "gpt2", "gpt_neox", "bloom",
            "falcon", "mixtral", "gemma2", "gemma3", "phi2", "phi3", "starcoder2", "olmo2", "granite", "stablelm",
            "qwen2_moe", "qwen3_moe", "cohere2", "glm4", "exaone4", "smollm3", "seed_oss", "internlm2", "baichuan",
            "ernie4_5", "olmoe", "granitemoe", "glm4_moe", "deepseek_v2", "deepseek_v3", "opt_gqa");

    private final ObjectNode description;
    private final ModelConfig config;
    private final SequencedMap<String, GgufValue> metadata;
    private final Optional<GgufRotary> rotary;
    private final Map<Pattern, JsonNode> tensors = new LinkedHashMap<>();
    private final Map<Pattern, JsonNode> parameters = new LinkedHashMap<>();
    private final List<Pattern> unused = new ArrayList<>();

    private GgufFamily(ObjectNode description, ModelConfig config) {
        this.description = description;
        this.config = config;
        this.metadata = GgufMetadata.of(description.path("metadata"), architecture(), config);
        this.rotary = rotary();
        rotary.ifPresent(embedding -> embedding.put(architecture(), metadata));
        description.path("tensors").propertyStream()
                .forEach(entry -> tensors.put(pattern(entry.getKey()), entry.getValue()));
        description.path("parameters").propertyStream()
                .forEach(entry -> parameters.put(pattern(entry.getKey()), entry.getValue()));
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
        ObjectNode own = Json.bundled(GgufFamily.class, name + ".json");
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
        return Optional.of(new GgufRotary(config, GgufMetadata.number(description.path("rotary"), config), factors,
                description.path("rotary").path("scalesAttention").asBoolean(false)));
    }

    /** Tensors by which the frequencies of pairs are divided, by name; none where there are none. */
    SequencedMap<String, float[]> rotaryFactors() {
        return rotary.map(embedding -> embedding.factors(count("rope.dimension_count"))).orElseGet(LinkedHashMap::new);
    }

    /**
     * What a module, or a piece of it, is in the file.
     *
     * @param name without ".weight"
     * @param member which of the matrices or vectors that are stored as one tensor, from 0; -1 where it is a tensor by itself
     * @param piece which of the pieces that the module is cut into, from 0
     */
    record Place(String name, int member, int piece, int pieces) {}

    /**
     * The places of a module ("model.norm", "model.layers.3.mlp.up_proj"), none when no runtime needs it, and none in blocks after the
     * last, which predict further tokens. Throws UserError UNSUPPORTED_MODEL for one that the architecture does not have.
     */
    List<Place> places(String module) {
        Optional<List<Place>> places = find(tensors, module);
        if (places.isEmpty() && unused.stream().noneMatch(pattern -> pattern.matcher(module).matches())) {
            throw new UserError(Code.UNSUPPORTED_MODEL,
                    config.file() + ": expected only tensors that the architecture '" + architecture()
                            + "' has in GGUF, found '" + module + "'; use the checkpoint as it is");
        }
        return places.orElse(List.of());
    }

    /** Those of a tensor that is no module's weight or bias, with the whole name in the file; none where it is one. */
    List<Place> parameters(String tensor) {
        return find(parameters, tensor).orElse(List.of());
    }

    /** None in blocks after the last; empty for a name that is not there. */
    private Optional<List<Place>> find(Map<Pattern, JsonNode> names, String name) {
        for (Map.Entry<Pattern, JsonNode> entry : names.entrySet()) {
            Matcher matcher = entry.getKey().matcher(name);
            if (matcher.matches()) {
                return Optional.of(
                        matcher.groupCount() > 0 && Integer.parseInt(matcher.group(1)) >= count("block_count")
                                ? List.of()
                                : places(entry.getValue(), matcher));
            }
        }
        return Optional.empty();
    }

    private static List<Place> places(JsonNode names, Matcher matcher) {
        int member = matcher.groupCount() < 2 ? -1 : Integer.parseInt(matcher.group(2));
        List<String> all = names.isArray()
                ? names.valueStream().map(JsonNode::stringValue).toList()
                : List.of(names.stringValue());
        return IntStream.range(0, all.size()).mapToObj(piece -> new Place(matcher.groupCount() == 0
                ? all.get(piece)
                : all.get(piece).replace("{}", matcher.group(1)), member, piece, all.size())).toList();
    }

    /** Of a place, in a module of so many rows. */
    GgufRows.Rows rows(Place place, int rows) {
        return new GgufRows(description, this::count).of(place.name(), place.piece(), place.pieces(), rows);
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
    static String last(String tensor) {
        return tensor.substring(tensor.lastIndexOf('.') + 1);
    }
}
