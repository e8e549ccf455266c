package dev.optgptq.formats.chat;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/**
 * Where a model directory keeps its chat template: a file of its own, or "chat_template" of tokenizer_config.json or, for
 * processors, of chat_template.json; there it is a text, or a list of {"name", "template"} of which "default" is taken.
 */
record TemplateFile(Path file, String template) {

    static final String JINJA = "chat_template.jinja";
    static final String TOKENIZER_CONFIG = "tokenizer_config.json";
    static final String JSON = "chat_template.json";
    private static final String KEY = "chat_template";
    /** The longest known have 20 kB. */
    private static final long MOST_BYTES = 1L << 20;

    /** The first in the order in which transformers looks. UserError BAD_TOKENIZER for one that cannot be read. */
    static Optional<TemplateFile> find(Path directory) {
        Path file = directory.resolve(JINJA);
        if (InputFiles.isThere(file)) {
            byte[] bytes = InputFiles.read(file, MOST_BYTES, Code.BAD_TOKENIZER);
            return Optional.of(new TemplateFile(file,
                    Json.decodeUtf8(ByteBuffer.wrap(bytes), file.toString(), Code.BAD_TOKENIZER)));
        }
        return of(directory.resolve(TOKENIZER_CONFIG)).or(() -> of(directory.resolve(JSON)));
    }

    private static Optional<TemplateFile> of(Path file) {
        if (!InputFiles.isThere(file)) {
            return Optional.empty();
        }
        JsonNode value = Json.readObject(file, Code.BAD_TOKENIZER).path(KEY);
        if (value.isMissingNode() || value.isNull()) {
            return Optional.empty();
        }
        JsonNode template = value.isArray() ? named(value, file) : value;
        if (!template.isString() || template.stringValue().length() > MOST_BYTES) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": expected a text of at most " + MOST_BYTES
                    + " characters, or a list of {\"name\", \"template\"}, at '" + KEY + "', found "
                    + Json.kind(template) + "; fetch the file again");
        }
        return Optional.of(new TemplateFile(file, template.stringValue()));
    }

    private static JsonNode named(JsonNode list, Path file) {
        List<String> names = new ArrayList<>();
        for (JsonNode one : list) {
            String name = one.path("name").asString("");
            if (name.equals("default")) {
                return one.path("template");
            }
            names.add(name);
        }
        throw new UserError(Code.BAD_TOKENIZER, file + ": expected a template named \"default\" in '" + KEY
                + "', found " + (names.isEmpty() ? "none" : String.join(", ", names)) + "; save the one you want as "
                + JINJA);
    }
}
