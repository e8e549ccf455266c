package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import tools.jackson.databind.JsonNode;

/** Tokens with a name, such as "bos_token", of a model directory. */
public final class SpecialTokens {

    public static final String BEGIN = "bos_token";
    public static final String END = "eos_token";

    private static final List<String> FILES = List.of("special_tokens_map.json", "tokenizer_config.json");

    private SpecialTokens() {}

    /** Their texts by name. UserError BAD_TOKENIZER for a file that cannot be read. */
    public static Map<String, JsonNode> texts(Path model) {
        Map<String, JsonNode> texts = new HashMap<>();
        for (String name : FILES) {
            Path file = model.resolve(name);
            if (InputFiles.isThere(file)) {
                Json.readObject(file, Code.BAD_TOKENIZER).properties().forEach(entry -> {
                    JsonNode value = entry.getValue().isObject() ? entry.getValue().path("content") : entry.getValue();
                    if (entry.getKey().endsWith("_token") && value.isString()) {
                        texts.put(entry.getKey(), value);
                    }
                });
            }
        }
        return texts;
    }

    /** The id of one: of its text if that is one token, else the first that config.json gives. */
    public static OptionalInt find(String name, Path model, Tokenizer tokenizer) {
        JsonNode text = texts(model).get(name);
        int[] tokens = text == null ? new int[0] : tokenizer.encode(text.stringValue());
        if (tokens.length == 1) {
            return OptionalInt.of(tokens[0]);
        }
        Path config = model.resolve("config.json");
        if (!InputFiles.isThere(config)) {
            return OptionalInt.empty();
        }
        JsonNode ids = Json.readObject(config, Code.BAD_MODEL).path(name + "_id");
        JsonNode id = ids.isArray() ? ids.path(0) : ids;
        return id.isIntegralNumber() && id.canConvertToInt() ? OptionalInt.of(id.intValue()) : OptionalInt.empty();
    }

    /** The tokens that a tokenizer puts before a text by itself. */
    public static int[] addedBefore(Tokenizer tokenizer) {
        int[] bare = tokenizer.encode("a");
        int[] whole = tokenizer.encodePrompt("a");
        for (int at = 0; at + bare.length <= whole.length; at++) {
            if (Arrays.equals(bare, Arrays.copyOfRange(whole, at, at + bare.length))) {
                return Arrays.copyOf(whole, at);
            }
        }
        return new int[0];
    }
}
