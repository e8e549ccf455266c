package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import java.nio.file.Path;
import tools.jackson.databind.JsonNode;

/**
 * config.json with typed, checked look-ups. Keys may be dotted ("attn_config.alibi"). Every failure is a UserError
 * BAD_MODEL that names the file, the key, what was expected and what was found.
 *
 * @param json the whole document, an object
 * @param file where it was read, for messages
 */
public record ModelConfig(JsonNode json, Path file) {

    public static ModelConfig read(Path file) {
        return new ModelConfig(Json.readObject(file, Code.BAD_MODEL), file);
    }

    /** True when the key is there and not null. */
    public boolean has(String key) {
        JsonNode value = at(key);
        return !value.isMissingNode() && !value.isNull();
    }

    /** The value at a key; a JSON missing node when absent. */
    public JsonNode at(String key) {
        JsonNode node = json;
        int from = 0;
        for (int dot = key.indexOf('.'); dot >= 0; dot = key.indexOf('.', from)) {
            node = node.path(key.substring(from, dot));
            from = dot + 1;
        }
        return node.path(key.substring(from));
    }

    /** A whole number from 1 to 2^31 - 1. */
    public int positiveInt(String key) {
        JsonNode value = at(key);
        if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() <= 0) {
            throw wrong(key, "a whole number from 1 to 2147483647");
        }
        return value.intValue();
    }

    /** A finite number. */
    public double number(String key) {
        JsonNode value = at(key);
        // A literal such as 1e999 is a number to the parser and infinite as a double.
        if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
            throw wrong(key, "a finite number");
        }
        return value.doubleValue();
    }

    public String text(String key) {
        JsonNode value = at(key);
        if (!value.isString()) {
            throw wrong(key, "a string");
        }
        return value.stringValue();
    }

    public boolean flag(String key) {
        JsonNode value = at(key);
        if (!value.isBoolean()) {
            throw wrong(key, "true or false");
        }
        return value.booleanValue();
    }

    private UserError wrong(String key, String expected) {
        return new UserError(Code.BAD_MODEL, file + ": expected " + expected + " at '" + key + "', found "
                + Json.kind(at(key)) + "; correct the file or fetch the model again");
    }
}
