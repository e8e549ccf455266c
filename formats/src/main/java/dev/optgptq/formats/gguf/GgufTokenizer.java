package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.chat.ChatTemplate;
import dev.optgptq.formats.tokenizer.TokenizerFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * A tokenizer as GGUF metadata: byte-level BPE with its merges, or SentencePiece's BPE with scores. Any other, and one that splits words
 * as llama.cpp does not, is refused, since it would give other tokens.
 */
final class GgufTokenizer {

    private static final String PREFIX = "tokenizer.ggml.";

    /** enum llama_token_type. */
    private static final int NORMAL = 1;
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int USER_DEFINED = 4;
    private static final int UNUSED = 5;
    private static final int BYTE = 6;

    private final Path file;
    private final ObjectNode json;

    private GgufTokenizer(Path modelDirectory) {
        this.file = TokenizerFile.in(modelDirectory);
        this.json = TokenizerFile.read(modelDirectory);
    }

    /**
     * @param vocabulary rows of the embedding table; ids that the tokenizer lacks are filled up
     * @param config where the ids of the first and last token may stand
     */
    static SequencedMap<String, GgufValue> of(Path modelDirectory, int vocabulary, JsonNode config) {
        SequencedMap<String, GgufValue> metadata = new GgufTokenizer(modelDirectory).metadata(vocabulary, config,
                TokenizerFile.settings(modelDirectory));
        ChatTemplate.source(modelDirectory)
                .ifPresent(template -> metadata.put("tokenizer.chat_template", new GgufValue.Text(template)));
        return metadata;
    }

    private SequencedMap<String, GgufValue> metadata(int vocabulary, JsonNode config, JsonNode settings) {
        SequencedMap<String, GgufValue> metadata = new LinkedHashMap<>();
        Optional<SentencePieces> pieces = SentencePieces.of(json);
        metadata.put(PREFIX + "model", new GgufValue.Text(pieces.isPresent() ? "llama" : "gpt2"));
        metadata.put(PREFIX + "pre", new GgufValue.Text(pieces.isPresent() ? "default" : splitting()));
        putTokens(vocabulary, pieces, metadata);
        if (pieces.isEmpty()) {
            List<String> merges = new ArrayList<>();
            json.path("model").path("merges").valueStream().forEach(merge -> merges.add(merge(merge)));
            metadata.put(PREFIX + "merges", new GgufValue.Texts(merges));
        }
        putId("bos_token_id", config, metadata);
        putId("eos_token_id", config, metadata);
        JsonNode unknown = json.path("model").path("vocab").path(json.path("model").path("unk_token").asString(""));
        if (unknown.isIntegralNumber()) {
            metadata.put(PREFIX + "unknown_token_id", new GgufValue.U32(unknown.intValue()));
        }
        metadata.put(PREFIX + "add_bos_token",
                new GgufValue.Flag(settings.path("add_bos_token").asBoolean(beginsByTemplate())));
        metadata.put(PREFIX + "add_space_prefix",
                new GgufValue.Flag(pieces.map(SentencePieces::spaceFirst).orElse(false)));
        return metadata;
    }

    /** Whether the tokenizer puts a token before a text by itself. */
    private boolean beginsByTemplate() {
        JsonNode processor = json.path("post_processor");
        return Stream.concat(Stream.of(processor), processor.path("processors").valueStream())
                .anyMatch(step -> step.path("type").asString("").equals("TemplateProcessing")
                        && step.path("single").path(0).has("SpecialToken"));
    }

    /** llama.cpp normalizes nothing and splits by one of its expressions. */
    private String splitting() {
        JsonNode normalizer = json.path("normalizer");
        boolean bpe = json.path("model").path("type").asString("").equals("BPE")
                && !json.path("model").path("byte_fallback").asBoolean(false)
                && (!normalizer.isObject() || normalizer.path("type").asString("").equals("NFC"));
        return (bpe ? WordSplitting.name(json) : Optional.<String>empty())
                .orElseThrow(() -> new UserError(Code.UNSUPPORTED_MODEL, file
                        + ": expected byte-level BPE that splits words as GPT-2, Llama 3, Qwen 2, Falcon, Bloom or"
                        + " StarCoder do, or SentencePiece's BPE, found another tokenizer; it is not exported to GGUF,"
                        + " use the checkpoint as it is"));
    }

    private void putTokens(int vocabulary, Optional<SentencePieces> pieces,
            SequencedMap<String, GgufValue> metadata) {
        String[] tokens = new String[vocabulary];
        Integer[] types = new Integer[vocabulary];
        for (int id = 0; id < vocabulary; id++) {
            tokens[id] = "[PAD" + id + "]";
            types[id] = UNUSED;
        }
        json.path("model").path("vocab").propertyStream()
                .forEach(entry -> put(entry.getKey(), entry.getValue().asInt(-1), type(entry.getKey(), pieces), tokens,
                        types));
        json.path("added_tokens").valueStream().forEach(token -> put(token.path("content").asString(""),
                token.path("id").asInt(-1), addedType(token), tokens, types));
        pieces.ifPresent(found -> metadata.put(PREFIX + "scores",
                new GgufValue.Floats(Stream.of(tokens).map(found::score).toList())));
        metadata.put(PREFIX + "tokens", new GgufValue.Texts(List.of(tokens)));
        metadata.put(PREFIX + "token_type", new GgufValue.Integers(Collections.unmodifiableList(Arrays.asList(types))));
    }

    private int addedType(JsonNode token) {
        if (!token.path("special").asBoolean(false)) {
            return USER_DEFINED;
        }
        return isUnknown(token.path("content").asString("")) ? UNKNOWN : CONTROL;
    }

    private boolean isUnknown(String token) {
        return token.equals(json.path("model").path("unk_token").asString(""));
    }

    private int type(String token, Optional<SentencePieces> pieces) {
        if (isUnknown(token)) {
            return UNKNOWN;
        }
        return pieces.isPresent() && SentencePieces.isByte(token) ? BYTE : NORMAL;
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
