package dev.optgptq.cli.generate;

import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * How prompts become messages.
 *
 * @param system goes before messages that do not begin with a system message; null for none
 */
public record Chat(@Nullable String system) {

    /** Text of a user as the only turn. */
    ArrayNode turn(String text) {
        ArrayNode messages = JsonNodeFactory.instance.arrayNode();
        messages.add(message("user", text));
        return withSystem(messages);
    }

    ArrayNode withSystem(ArrayNode messages) {
        ArrayNode all = JsonNodeFactory.instance.arrayNode();
        if (system != null && !messages.path(0).path("role").asString("").equals("system")) {
            all.add(message("system", system));
        }
        return all.addAll(messages);
    }

    static JsonNode message(String role, String content) {
        return JsonNodeFactory.instance.objectNode().put("role", role).put("content", content);
    }
}
