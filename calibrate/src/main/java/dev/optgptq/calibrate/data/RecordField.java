package dev.optgptq.calibrate.data;

import dev.optgptq.formats.json.Json;
import tools.jackson.databind.JsonNode;

/** A field of a document's record. */
final class RecordField {

    private RecordField() {}

    /**
     * UserError BAD_TEXT with the fields that there are.
     *
     * @param field a key, or keys with dots between them
     */
    static JsonNode of(JsonNode object, String field, String place) {
        JsonNode value = object.path(field);
        if (!value.isMissingNode()) {
            return value;
        }
        value = object;
        for (String key : field.split("\\.", -1)) {
            value = value.path(key);
        }
        if (value.isMissingNode()) {
            throw TextFiles.badText(place + ": expected an object with a \"" + field + "\", found "
                    + (object.isObject()
                            ? "the fields " + String.join(", ", object.propertyNames())
                            : Json.kind(object))
                    + "; choose one with --field");
        }
        return value;
    }
}
