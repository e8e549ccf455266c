package dev.optgptq.calibrate.family;

import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Under which prefix a checkpoint keeps the tensors that a description names: "model.layers.0" is "model.language_model.layers.0"
 * or "language_model.model.layers.0" in a model of text and more, and "layers.0" where it was saved without its head's class.
 *
 * @param described the first part of the description's names: "model."
 * @param found what stands in its place
 * @param beforeHead what stands before the head's name
 */
record TensorPrefix(String described, String found, String beforeHead) {

    private static final String LANGUAGE_MODEL = "language_model.";

    /**
     * The first under which the embedding table is there; the described one where it is under none.
     *
     * @param tensors names of all that the checkpoint has
     */
    static TensorPrefix of(ObjectNode description, Set<String> tensors) {
        String block = description.path("block").stringValue();
        String described = block.substring(0, block.indexOf('.') + 1);
        String table = description.at("/embedding/table").stringValue().substring(described.length()) + ".weight";
        String found = List.of(described, "model." + LANGUAGE_MODEL, LANGUAGE_MODEL + described, LANGUAGE_MODEL, "")
                .stream().filter(prefix -> tensors.contains(prefix + table)).findFirst().orElse(described);
        String head = LANGUAGE_MODEL + description.at("/head/module").stringValue() + ".weight";
        return new TensorPrefix(described, found, tensors.contains(head) ? LANGUAGE_MODEL : "");
    }

    /** Puts it into all names of a description that are written in full. */
    void into(ObjectNode description) {
        rename(description, "block");
        JsonNode embedding = description.path("embedding");
        List.of("table", "projection", "norm").forEach(key -> rename(embedding, key));
        rename(embedding.path("positions"), "table");
        JsonNode head = description.path("head");
        List.of("norm", "projection", "module").forEach(key -> rename(head, key));
        ((ObjectNode) head).put("module", beforeHead + head.path("module").stringValue());
        JsonNode patterns = description.path("unused");
        ArrayNode renamed = description.putArray("unused");
        for (JsonNode pattern : patterns) {
            renamed.add(replaced(pattern.stringValue(), escaped(described), escaped(found)));
        }
    }

    /** A pattern of all tensors that are neither of the text model nor of its head. */
    String others(ObjectNode description) {
        return "(?!" + Pattern.quote(found) + "|"
                + Pattern.quote(description.at("/head/module").stringValue() + ".") + ").*";
    }

    private void rename(JsonNode parent, String key) {
        if (parent instanceof ObjectNode object && object.path(key).isString()) {
            object.put(key, replaced(object.path(key).stringValue(), described, found));
        }
    }

    private static String replaced(String text, String prefix, String other) {
        return text.startsWith(prefix) ? other + text.substring(prefix.length()) : text;
    }

    private static String escaped(String prefix) {
        return prefix.replace(".", "\\.");
    }
}
