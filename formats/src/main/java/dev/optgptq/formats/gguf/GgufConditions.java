package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.util.Iterator;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/**
 * Conditions on config.json in a description: keys with the values that each may have. A value is a literal; null for a key that is
 * not there or null; {"key": K, "over": L} for the value at K, divided by that at L; {"period": [...]} for a list that repeats these. Those
 * in braces count only "when", or "unless", other conditions hold.
 */
final class GgufConditions {

    private GgufConditions() {}

    /** Throws UserError UNSUPPORTED_MODEL for the first key with another value. */
    static void require(JsonNode conditions, ModelConfig config) {
        for (Map.Entry<String, JsonNode> condition : conditions.properties()) {
            if (!holds(condition, config)) {
                throw new UserError(Code.UNSUPPORTED_MODEL, config.file() + ": expected " + condition.getValue()
                        + " at '" + condition.getKey() + "', which is what llama.cpp computes, found "
                        + Json.kind(config.at(condition.getKey())) + "; use the checkpoint as it is");
            }
        }
    }

    static boolean hold(JsonNode conditions, ModelConfig config) {
        return conditions.properties().stream().allMatch(condition -> holds(condition, config));
    }

    private static boolean holds(Map.Entry<String, JsonNode> condition, ModelConfig config) {
        JsonNode found = config.at(condition.getKey());
        boolean absent = !config.has(condition.getKey());
        return condition.getValue().valueStream()
                .anyMatch(allowed -> allowed.isNull() ? absent : matches(allowed, found, config));
    }

    private static boolean matches(JsonNode allowed, JsonNode found, ModelConfig config) {
        if (!allowed.isObject()) {
            return same(allowed, found);
        }
        if (!hold(allowed.path("when"), config)
                || (allowed.has("unless") && hold(allowed.path("unless"), config))) {
            return false;
        }
        if (allowed.has("period")) {
            return repeats(allowed.path("period"), found);
        }
        double divisor = allowed.has("over") ? config.number(allowed.path("over").stringValue()) : 1;
        return found.isNumber() && found.doubleValue() == config.number(allowed.path("key").stringValue()) / divisor;
    }

    private static boolean repeats(JsonNode period, JsonNode found) {
        int at = 0;
        for (Iterator<JsonNode> values = found.iterator(); values.hasNext(); at++) {
            if (!same(period.path(at % period.size()), values.next())) {
                return false;
            }
        }
        return at > 0;
    }

    private static boolean same(JsonNode one, JsonNode other) {
        return (one.isNumber() && other.isNumber()) ? one.doubleValue() == other.doubleValue() : one.equals(other);
    }
}
