package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.util.Locale;
import tools.jackson.databind.JsonNode;

/**
 * The fields of a quantization_config, or of an object in it.
 *
 * @param origin names the file and the place in messages
 */
record BlockFields(JsonNode json, String origin) {

    /** Throws UserError BAD_MODEL where the block is no object. */
    static BlockFields of(JsonNode block, String origin) {
        if (!block.isObject()) {
            throw new UserError(Code.BAD_MODEL, origin + ": expected an object, found " + Json.kind(block)
                    + "; fetch the file again");
        }
        return new BlockFields(block, origin);
    }

    JsonNode at(String key) {
        return json.path(key);
    }

    boolean present(String key) {
        return !at(key).isMissingNode() && !at(key).isNull();
    }

    /** The object at a key. */
    BlockFields object(String key) {
        return of(at(key), origin + ", " + key);
    }

    /** In lower case. Throws UserError UNSUPPORTED_MODEL for something else than a string. */
    String text(String key, String absent) {
        if (!present(key)) {
            return absent;
        }
        if (!at(key).isString()) {
            throw unsupported(key, "a name");
        }
        return at(key).stringValue().toLowerCase(Locale.ROOT);
    }

    int requiredInt(String key) {
        JsonNode value = at(key);
        if (!value.isIntegralNumber() || !value.canConvertToInt()) {
            throw wrong(key, "a whole number");
        }
        return value.intValue();
    }

    boolean flag(String key, boolean absent) {
        if (!present(key)) {
            return absent;
        }
        if (!at(key).isBoolean()) {
            throw wrong(key, "true or false");
        }
        return at(key).booleanValue();
    }

    /** Bits that are read. */
    int bits(String key) {
        int bits = requiredInt(key);
        if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
            throw unsupported(key, "2, 3, 4 or 8");
        }
        return bits;
    }

    /** Inputs per scale, -1 for all. */
    int groupSize(String key) {
        int groupSize = requiredInt(key);
        if (groupSize != QuantizationConfig.ONE_GROUP && groupSize <= 0) {
            throw wrong(key, "a positive number or -1");
        }
        return groupSize;
    }

    /** Throws UserError UNSUPPORTED_MODEL for anything but null or nothing. */
    void requireAbsent(String key) {
        if (present(key)) {
            throw unsupported(key, "nothing");
        }
    }

    UserError wrong(String key, String expected) {
        return new UserError(Code.BAD_MODEL, message(key, expected) + "; correct the file or fetch it again");
    }

    UserError unsupported(String key, String expected) {
        return new UserError(Code.UNSUPPORTED_MODEL, message(key, expected)
                + "; checkpoints of that kind are not read, start from the unquantized model");
    }

    private String message(String key, String expected) {
        return origin + ": expected " + expected + " at '" + key + "', found " + Json.kind(at(key));
    }
}
