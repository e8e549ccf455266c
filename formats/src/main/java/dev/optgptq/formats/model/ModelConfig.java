package dev.optgptq.formats.model;

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
        throw new UnsupportedOperationException("not written yet");
    }

    /** True when the key is there and not null. */
    public boolean has(String key) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The value at a key; a JSON missing node when absent. */
    public JsonNode at(String key) {
        throw new UnsupportedOperationException("not written yet");
    }

    public int positiveInt(String key) {
        throw new UnsupportedOperationException("not written yet");
    }

    public double number(String key) {
        throw new UnsupportedOperationException("not written yet");
    }

    public String text(String key) {
        throw new UnsupportedOperationException("not written yet");
    }

    public boolean flag(String key) {
        throw new UnsupportedOperationException("not written yet");
    }
}
