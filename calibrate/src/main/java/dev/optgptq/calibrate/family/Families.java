package dev.optgptq.calibrate.family;

import dev.optgptq.formats.json.Json;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** The families that are described. To add one: a JSON file beside the others, its name here, and a fixture in the tests. */
public final class Families {

    private static final List<String> NAMES = List.of("baichuan", "bloom", "cohere2", "deepseek_v2", "deepseek_v3",
            "ernie4_5", "exaone4", "falcon",
            "gemma2", "gemma3", "glm4", "glm4_moe", "gpt2", "gpt_neox", "gpt_oss", "granite", "granitemoe", "internlm2",
            "llama",
            "mistral", "mixtral", "mpt", "olmo2", "olmoe", "opt", "opt_gqa", "phi", "phi3", "qwen2", "qwen2_moe",
            "qwen3",
            "qwen3_5", "qwen3_moe", "qwen3_next", "seed_oss", "smollm3", "stablelm", "starcoder2");

    private static final String FOLDER = "/dev/optgptq/calibrate/families/";
    private static final String VARIANTS = "variants";
    private static final String ALIASES = "aliases";
    private static final String DEFAULTS = "defaults";
    private static final int NEAREST = 3;

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
            .build();

    private Families() {}

    /** Their names. */
    public static List<String> names() {
        return NAMES;
    }

    /**
     * A family, for people.
     *
     * @param modelTypes values of model_type that it answers to
     * @param fixtures that the project's tests compare with another implementation's logits and gradients; every family is also
     *     compared with transformers on random configurations (samples/interop/check_families.py)
     */
    public record Summary(String name, List<String> modelTypes, List<String> architectures, String special,
            List<String> limits, List<String> fixtures) {}

    /** All families, from their descriptions. */
    public static List<Summary> summaries() {
        ObjectNode checked = json("checked");
        return NAMES.stream().map(name -> {
            ObjectNode json = json(name);
            json.remove(VARIANTS);
            Family family = read(json, Family.class);
            return new Summary(name, family.modelTypes(), family.architectures(), family.special(),
                    family.requirements().stream().map(Requirement::inWords).toList(),
                    checked.path(name).valueStream().map(JsonNode::stringValue).toList());
        }).toList();
    }

    /** @param tensors names of what the checkpoint has, which say under which prefix; none: as described */
    static FamilyResolver of(ConfigReader written, Set<String> tensors) {
        String type = written.text("model_type");
        for (String name : NAMES) {
            ObjectNode json = json(name);
            if (json.path("modelTypes").valueStream().anyMatch(value -> value.stringValue().equals(type))) {
                ConfigReader config = withDefaults(json, written.renamed(aliases(json)));
                Set<String> mentioned = new HashSet<>();
                mentioned(json, mentioned);
                return new FamilyResolver(chosen(json, config, tensors), config, mentioned);
            }
        }
        throw written.unsupported("model_type is \"" + type + "\", which no family supports; the nearest are "
                + String.join(", ", nearest(type))
                + ". 'opt-gptq families' lists all; CONTRIBUTING explains how to add one");
    }

    private static Map<String, List<String>> aliases(ObjectNode json) {
        return json.has(ALIASES) ? JSON.convertValue(json.path(ALIASES), new TypeReference<>() {
        }) : Map.of();
    }

    /** Fields that are absent, which for some is not the same as null. */
    private static ConfigReader withDefaults(ObjectNode json, ConfigReader written) {
        ConfigReader config = written;
        for (Map.Entry<String, JsonNode> field : json.path(DEFAULTS).properties()) {
            if (config.at(field.getKey()).isMissingNode()) {
                config = config.withDefault(field.getKey(), field.getValue());
            }
        }
        return config;
    }

    /**
     * All names and keys in a description. A field of config.json that is among them and was not read belongs to a part that
     * this model does not have: sizes of experts where every block is dense.
     */
    private static void mentioned(JsonNode part, Set<String> into) {
        if (part.isString()) {
            into.add(part.stringValue());
        }
        part.valueStream().forEach(value -> mentioned(value, into));
    }

    /** The description with the variants that a config selects, in order. */
    private static Family chosen(ObjectNode json, ConfigReader config, Set<String> tensors) {
        JsonNode variants = json.remove(VARIANTS);
        if (variants != null) {
            for (JsonNode written : variants) {
                Variant variant = read(written, Variant.class);
                if (variant.isAskedFor(config)) {
                    merge(json, variant.then());
                }
            }
        }
        TensorPrefix prefix = TensorPrefix.of(json, tensors);
        prefix.into(json);
        if (config.outer() != null) {
            ((ArrayNode) json.get("unused")).add(prefix.others(json));
        }
        return read(json, Family.class);
    }

    /**
     * A change to a description.
     *
     * @param when values of config.json, by key, that must all be found; null stands for absent
     */
    private record Variant(Map<String, List<JsonNode>> when, JsonNode then) {
        boolean isAskedFor(ConfigReader config) {
            return when.entrySet().stream()
                    .allMatch(entry -> new Requirement(entry.getKey(), entry.getValue()).isMet(config));
        }
    }

    /** RFC 7396: objects are merged, null removes, everything else replaces. */
    private static void merge(ObjectNode target, JsonNode patch) {
        for (Map.Entry<String, JsonNode> change : patch.properties()) {
            JsonNode value = change.getValue();
            if (value.isNull()) {
                target.remove(change.getKey());
            } else if (value.isObject() && target.path(change.getKey()).isObject()) {
                merge((ObjectNode) target.path(change.getKey()), value);
            } else {
                target.set(change.getKey(), value);
            }
        }
    }

    /** Every variant of a family's description, merged one at a time and all together: for tests of the descriptions. */
    static List<Family> variants(String name) {
        List<Family> all = new ArrayList<>();
        ObjectNode plain = json(name);
        JsonNode variants = plain.remove(VARIANTS);
        all.add(read(plain.deepCopy(), Family.class));
        if (variants != null) {
            for (JsonNode written : variants) {
                ObjectNode changed = plain.deepCopy();
                merge(changed, read(written, Variant.class).then());
                all.add(read(changed, Family.class));
            }
        }
        return all;
    }

    static <T> T read(JsonNode json, Class<T> type) {
        return JSON.treeToValue(json, type);
    }

    private static ObjectNode json(String name) {
        return Json.bundled(Families.class, FOLDER + name + ".json");
    }

    private static List<String> nearest(String type) {
        return summaries().stream().flatMap(summary -> summary.modelTypes().stream())
                .sorted(Comparator.comparingInt((String known) -> distance(known, type))
                        .thenComparing(Comparator.naturalOrder()))
                .limit(NEAREST).toList();
    }

    /** Letters to insert, remove or change (Levenshtein). */
    static int distance(String a, String b) {
        int[] previous = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            previous[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int[] current = new int[b.length() + 1];
            current[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int changed = previous[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                current[j] = Math.min(changed, 1 + Math.min(previous[j], current[j - 1]));
            }
            previous = current;
        }
        return previous[b.length()];
    }
}
