package dev.optgptq.calibrate.family;

import java.util.List;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/**
 * A setting of config.json that would change the forward pass, and the values that the forward pass implements. Anything
 * else is refused: ignoring it would change the model.
 *
 * @param supported JSON scalars; null stands for a key that is absent or null
 */
record Requirement(String key, List<JsonNode> supported) {

    void check(String family, ConfigReader config) {
        if (!isMet(config)) {
            throw config.unsupported(key + " is " + show(config.at(key)) + "; " + family
                    + " models are supported with "
                    + values());
        }
    }

    /** For people: "norm_type layernorm or absent". */
    String inWords() {
        return key + " " + values();
    }

    private String values() {
        return supported.stream().map(Requirement::show).collect(Collectors.joining(" or "));
    }

    boolean isMet(ConfigReader config) {
        JsonNode found = config.at(key);
        return supported.stream().anyMatch(value -> agrees(value, found));
    }

    private static boolean agrees(JsonNode value, JsonNode found) {
        if (isAbsent(value) || isAbsent(found)) {
            return isAbsent(value) && isAbsent(found);
        }
        if (value.isNumber() && found.isNumber()) {
            return value.doubleValue() == found.doubleValue();
        }
        return value.equals(found);
    }

    private static boolean isAbsent(JsonNode node) {
        return node.isMissingNode() || node.isNull();
    }

    private static String show(JsonNode node) {
        return isAbsent(node) ? "absent" : node.toString();
    }
}
