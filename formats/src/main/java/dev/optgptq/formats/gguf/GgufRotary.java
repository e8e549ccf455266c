package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.util.Optional;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;

/**
 * Rotary settings as transformers reads them: a non-empty rope_scaling replaces rope_parameters, and a rope_theta in
 * the block takes precedence over the one at the top.
 */
final class GgufRotary {

    private static final double THETA = 10_000;
    private static final String LLAMA3 = "llama3";

    private GgufRotary() {}

    /** Throws UserError UNSUPPORTED_MODEL for a scaling that is not exported. */
    static void put(ModelConfig config, String architecture, boolean takesFactors,
            SequencedMap<String, GgufValue> metadata) {
        String block = block(config);
        double theta = theta(config);
        metadata.put(architecture + ".rope.freq_base", new GgufValue.F32((float) theta));
        JsonNode type = type(config);
        switch (takesFactors && type.asString("").equals(LLAMA3) ? "default" : type.asString("default")) {
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

    private static String block(ModelConfig config) {
        return config.at("rope_scaling").isObject() && !config.at("rope_scaling").isEmpty()
                ? "rope_scaling"
                : "rope_parameters";
    }

    private static double theta(ModelConfig config) {
        String key = block(config) + ".rope_theta";
        return config.has(key) ? config.number(key) : config.has("rope_theta") ? config.number("rope_theta") : THETA;
    }

    private static JsonNode type(ModelConfig config) {
        String block = block(config);
        return config.has(block + ".rope_type") ? config.at(block + ".rope_type") : config.at(block + ".type");
    }

    /**
     * By which the frequencies of pairs are divided with Llama 3's scaling, which GGUF has as a tensor (convert_hf_to_gguf.py,
     * LlamaModel.generate_extra_tensors): waves longer than the original context by the whole factor, short ones not, and those
     * between in proportion. Empty for other scalings.
     *
     * @param width elements of a head that turn
     */
    static Optional<float[]> factors(ModelConfig config, int width) {
        if (!type(config).asString("").equals(LLAMA3)) {
            return Optional.empty();
        }
        String block = block(config);
        double factor = config.number(block + ".factor");
        double low = config.number(block + ".low_freq_factor");
        double high = config.number(block + ".high_freq_factor");
        double context = config.number(block + ".original_max_position_embeddings");
        float[] factors = new float[width / 2];
        for (int pair = 0; pair < factors.length; pair++) {
            double wave = 2 * Math.PI * Math.pow(theta(config), 2.0 * pair / width);
            double smooth = Math.clamp((context / wave - low) / (high - low), 0, 1);
            factors[pair] = (float) (1 / ((1 - smooth) / factor + smooth));
        }
        return Optional.of(factors);
    }
}
