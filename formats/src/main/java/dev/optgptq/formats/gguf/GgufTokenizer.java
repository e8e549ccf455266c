package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * A byte-level BPE tokenizer as GGUF metadata. The way words are split is a name there, of an expression that llama.cpp
 * knows ("tokenizer.ggml.pre", llama-vocab.cpp): any other is refused, since it would give other tokens.
 */
final class GgufTokenizer {

    private static final String FILE = "tokenizer.json";
    private static final String PREFIX = "tokenizer.ggml.";

    /** enum llama_token_type. */
    private static final int NORMAL = 1;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;

    private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
    private static final String REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final Map<String, String> EXPRESSIONS = Map.of(CONTRACTIONS + "\\p{N}{1,3}" + REST, "llama-bpe",
            CONTRACTIONS + "\\p{N}" + REST, "qwen2");

    private final Path file;
    private final ObjectNode json;

    private GgufTokenizer(Path file) {
        this.file = file;
        this.json = Json.readObject(file, Json.Limit.TOKENIZER, Code.BAD_TOKENIZER);
    }

    /**
     * @param vocabulary rows of the embedding table; ids that the tokenizer lacks are filled up
     * @param config where the ids of the first and last token may stand
     */
    static SequencedMap<String, GgufValue> of(Path modelDirectory, int vocabulary, JsonNode config) {
        return new GgufTokenizer(modelDirectory.resolve(FILE)).metadata(vocabulary, config,
                optional(modelDirectory.resolve("tokenizer_config.json")));
    }

    private static JsonNode optional(Path file) {
        return InputFiles.isThere(file)
                ? Json.readObject(file, Code.BAD_TOKENIZER)
                : JsonNodeFactory.instance.objectNode();
    }

    private SequencedMap<String, GgufValue> metadata(int vocabulary, JsonNode config, JsonNode settings) {
        SequencedMap<String, GgufValue> metadata = new LinkedHashMap<>();
        metadata.put(PREFIX + "model", new GgufValue.Text("gpt2"));
        metadata.put(PREFIX + "pre", new GgufValue.Text(splitting()));
        putTokens(vocabulary, metadata);
        List<String> merges = new ArrayList<>();
        json.path("model").path("merges").valueStream().forEach(merge -> merges.add(merge(merge)));
        metadata.put(PREFIX + "merges", new GgufValue.Texts(merges));
        putId("bos_token_id", config, metadata);
        putId("eos_token_id", config, metadata);
        metadata.put(PREFIX + "add_bos_token", new GgufValue.Flag(settings.path("add_bos_token").asBoolean(false)));
        metadata.put(PREFIX + "add_space_prefix", new GgufValue.Flag(false));
        if (settings.path("chat_template").isString()) {
            metadata.put("tokenizer.chat_template", new GgufValue.Text(settings.path("chat_template").stringValue()));
        }
        return metadata;
    }

    /** llama.cpp normalizes nothing and splits by one of its expressions. */
    private String splitting() {
        JsonNode splitting = json.path("pre_tokenizer");
        boolean bpe = json.path("model").path("type").asString("").equals("BPE")
                && !json.path("model").path("byte_fallback").asBoolean(false)
                && (json.path("normalizer").isNull() || json.path("normalizer").isMissingNode()
                        || json.path("normalizer").path("type").asString("").equals("NFC"));
        if (bpe && isByteLevel(splitting, true)) {
            return "gpt-2";
        }
        JsonNode steps = splitting.path("pretokenizers");
        String name = EXPRESSIONS.get(steps.path(0).path("pattern").path("Regex").asString(""));
        if (bpe && steps.size() == 2 && name != null && isByteLevel(steps.path(1), false)) {
            return name;
        }
        throw new UserError(Code.UNSUPPORTED_MODEL, file
                + ": expected byte-level BPE that splits words as GPT-2, Llama 3 or"
                + " Qwen 2 do, found another tokenizer; it is not exported to GGUF yet, use the checkpoint as it is");
    }

    private static boolean isByteLevel(JsonNode step, boolean splits) {
        return step.path("type").asString("").equals("ByteLevel") && !step.path("add_prefix_space").asBoolean(true)
                && step.path("use_regex").asBoolean(true) == splits;
    }

    private void putTokens(int vocabulary, SequencedMap<String, GgufValue> metadata) {
        String[] tokens = new String[vocabulary];
        Integer[] types = new Integer[vocabulary];
        for (int id = 0; id < vocabulary; id++) {
            tokens[id] = "[PAD" + id + "]";
            types[id] = UNUSED;
        }
        json.path("model").path("vocab").propertyStream()
                .forEach(entry -> put(entry.getKey(), entry.getValue().asInt(-1), NORMAL, tokens, types));
        json.path("added_tokens").valueStream().forEach(token -> put(token.path("content").asString(""),
                token.path("id").asInt(-1), token.path("special").asBoolean(false) ? CONTROL : USER_DEFINED, tokens,
                types));
        metadata.put(PREFIX + "tokens", new GgufValue.Texts(List.of(tokens)));
        metadata.put(PREFIX + "token_type", new GgufValue.Integers(Collections.unmodifiableList(Arrays.asList(types))));
    }

    private void put(String token, int id, int type, String[] tokens, Integer[] types) {
        if (id < 0 || id >= tokens.length) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": expected ids from 0 to " + (tokens.length - 1)
                    + ", the model's vocabulary, found " + id + " for '" + token
                    + "'; the tokenizer is from another model");
        }
        tokens[id] = token;
        types[id] = type;
    }

    /** Older files have "a b", newer ones ["a", "b"]; GGUF has the older form. */
    private String merge(JsonNode merge) {
        if (merge.isString()) {
            return merge.stringValue();
        }
        return merge.path(0).asString("") + " " + merge.path(1).asString("");
    }

    /** A model may have several last tokens; the first one is the one that ends a text. */
    private static void putId(String key, JsonNode config, SequencedMap<String, GgufValue> metadata) {
        JsonNode id = config.path(key).isArray() ? config.path(key).path(0) : config.path(key);
        if (id.isIntegralNumber()) {
            metadata.put(PREFIX + key, new GgufValue.U32(id.intValue()));
        }
    }
}
