package dev.optgptq.calibrate.family;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelConfig;
import java.util.List;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/**
 * A setting of config.json that would change the forward pass, and the values that the forward pass implements. Anything
 * else is refused: ignoring it would run a different model.
 *
 * @param supported JSON scalars; null stands for a key that is absent or null
 */
record Requirement(String key, List<JsonNode> supported) {

    void check(String family, ModelConfig config) {
        JsonNode found = config.at(key);
        if (supported.stream().noneMatch(value -> agrees(value, found))) {
            throw new UserError(UserError.Code.UNSUPPORTED_MODEL, config.file() + ": " + key + " is " + show(found)
                    + "; " + family + " models are supported with "
                    + supported.stream().map(Requirement::show).collect(Collectors.joining(" or ")));
        }
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
