package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;

/**
 * Rotary settings as transformers reads them: a rope_scaling that is not empty takes the place of rope_parameters, and a
 * rope_theta in the block goes before the one at the top.
 */
final class GgufRotary {

    private static final double THETA = 10_000;

    private GgufRotary() {}

    /** Throws UserError UNSUPPORTED_MODEL for a scaling that is not exported. */
    static void put(ModelConfig config, String architecture, SequencedMap<String, GgufValue> metadata) {
        String block = config.at("rope_scaling").isObject() && !config.at("rope_scaling").isEmpty()
                ? "rope_scaling"
                : "rope_parameters";
        double theta = config.has(block + ".rope_theta")
                ? config.number(block + ".rope_theta")
                : config.has("rope_theta") ? config.number("rope_theta") : THETA;
        metadata.put(architecture + ".rope.freq_base", new GgufValue.F32((float) theta));
        JsonNode type = config.has(block + ".rope_type") ? config.at(block + ".rope_type") : config.at(block + ".type");
        switch (type.asString("default")) {
            case "default" -> {
            }
            case "linear" -> {
                metadata.put(architecture + ".rope.scaling.type", new GgufValue.Text("linear"));
                metadata.put(architecture + ".rope.scaling.factor",
                        new GgufValue.F32((float) config.number(block + ".factor")));
            }
            default -> throw new UserError(Code.UNSUPPORTED_MODEL, config.file() + ": expected a rotary scaling that is"
                    + " exported to GGUF, default or linear, found " + Json.kind(type) + " at '" + block
                    + "'; use the checkpoint as it is");
        }
    }
}
