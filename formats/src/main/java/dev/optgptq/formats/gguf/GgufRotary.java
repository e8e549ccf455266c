package dev.optgptq.formats.gguf;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/**
 * Rotary settings as transformers reads them: a non-empty rope_scaling replaces rope_parameters, and a rope_theta in
 * the block takes precedence over the one at the top.
 *
 * @param base of the frequencies where the block has none: what the family's config class has
 * @param tensors the types of scaling that the architecture takes as tensors of factors: "llama3", "longrope"
 * @param scalesAttention whether yarn multiplies scores too
 */
record GgufRotary(ModelConfig config, double base, Set<String> tensors, boolean scalesAttention) {

    /** Turns within the original context. */
    private static final double FAST = 32;
    private static final double SLOW = 1;
    private static final String LLAMA3 = "llama3";
    private static final String LONG = "longrope";
    private static final String ORIGINAL = "original_max_position_embeddings";

    /** Throws UserError UNSUPPORTED_MODEL for a scaling that is not exported. */
    void put(String architecture, SequencedMap<String, GgufValue> metadata) {
        metadata.put(architecture + ".rope.freq_base", new GgufValue.F32((float) theta()));
        String scaling = architecture + ".rope.scaling.";
        String type = type();
        switch (type) {
            case "default" -> {
            }
            case "linear" -> {
                metadata.put(scaling + "type", new GgufValue.Text(type));
                metadata.put(scaling + "factor", new GgufValue.F32((float) number("factor")));
            }
            case "yarn" -> putYarn(scaling, metadata);
            case LONG -> {
                requireTensors(type);
                double factor = factor();
                double attention = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original()));
                metadata.put(scaling + "type", new GgufValue.Text(type));
                metadata.put(scaling + "original_context_length", new GgufValue.U32((int) original()));
                metadata.put(scaling + "attn_factor", new GgufValue.F32((float) number("attention_factor", attention)));
            }
            default -> requireTensors(type);
        }
    }

    /**
     * llama.cpp multiplies by 0.1 ln(factor) + 1 itself, has its ramp between 32 turns and 1 whatever the file says (it reads other
     * bounds for two architectures only), and rounds the ends of the ramp outwards to whole pairs.
     */
    private void putYarn(String scaling, SequencedMap<String, GgufValue> metadata) {
        boolean truncated = !config.has(block() + ".truncate") || config.flag(block() + ".truncate");
        if (!truncated || number("beta_fast", FAST) != FAST || number("beta_slow", SLOW) != SLOW) {
            throw refused(
                    "yarn with a beta_fast of 32, a beta_slow of 1 and truncated bounds, which is what llama.cpp computes");
        }
        double factor = factor();
        double mscale = number("mscale", 0);
        double all = number("mscale_all_dim", 0);
        if (scalesAttention) {
            putAttentionScale(mscale, all, scaling, metadata);
        }
        double attention = mscale != 0 && all != 0
                ? magnitude(factor, mscale) / magnitude(factor, all)
                : magnitude(factor, 1);
        metadata.put(scaling + "type", new GgufValue.Text("yarn"));
        metadata.put(scaling + "factor", new GgufValue.F32((float) factor));
        metadata.put(scaling + "original_context_length", new GgufValue.U32((int) original()));
        metadata.put(scaling + "attn_factor",
                new GgufValue.F32((float) (scalesAttention
                        ? attention
                        : number("attention_factor", attention) / magnitude(factor, 1))));
    }

    /** The square of that magnitude multiplies scores, and then llama.cpp takes the rotation's own for 1: deepseek2.cpp. */
    private void putAttentionScale(double mscale, double all, String scaling,
            SequencedMap<String, GgufValue> metadata) {
        if (mscale != all || all == 0 || config.has(block() + ".attention_factor")) {
            throw refused(
                    "yarn with a mscale that is its mscale_all_dim, and no attention_factor, which is what llama.cpp"
                            + " computes");
        }
        metadata.put(scaling + "yarn_log_multiplier", new GgufValue.F32((float) (0.1 * all)));
    }

    private static double magnitude(double factor, double mscale) {
        return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
    }

    private void requireTensors(String type) {
        if (!tensors.contains(type)) {
            throw refused("a rotary scaling that this architecture has in llama.cpp: default, linear, yarn" + (tensors
                    .isEmpty() ? "" : ", " + String.join(", ", tensors.stream().sorted().toList())));
        }
    }

    private UserError refused(String expected) {
        return new UserError(Code.UNSUPPORTED_MODEL, config.file() + ": expected " + expected + ", found "
                + Json.kind(config.at(block())) + " at '" + block() + "'; use the checkpoint as it is");
    }

    private String block() {
        if (config.at("rope_scaling").isObject() && !config.at("rope_scaling").isEmpty()) {
            return "rope_scaling";
        }
        // Where windows turn by another theta, this is that of the layers that see everything.
        return config.has("rope_parameters.full_attention") ? "rope_parameters.full_attention" : "rope_parameters";
    }

    private double theta() {
        return number("rope_theta", base);
    }

    private String type() {
        JsonNode type = config.has(block() + ".rope_type")
                ? config.at(block() + ".rope_type")
                : config.at(block() + ".type");
        String name = type.asString("default");
        return name.equals("su") ? LONG : name;
    }

    private double number(String key) {
        return config.number(block() + "." + key);
    }

    private double number(String key, double otherwise) {
        return config.has(block() + "." + key) ? number(key) : otherwise;
    }

    private double factor() {
        return number("factor", config.has("max_position_embeddings")
                ? config.number("max_position_embeddings") / original()
                : 1);
    }

    /** Beside the block it takes precedence, as in transformers. */
    private double original() {
        return config.has(ORIGINAL) ? config.number(ORIGINAL) : number(ORIGINAL);
    }

    /**
     * By which the frequencies of pairs are divided, as tensors (convert_hf_to_gguf.py, generate_extra_tensors). Empty for
     * scalings that have none.
     *
     * @param width elements of a head that turn
     */
    SequencedMap<String, float[]> factors(int width) {
        SequencedMap<String, float[]> factors = new LinkedHashMap<>();
        switch (type()) {
            case LLAMA3 -> factors.put("rope_freqs.weight", llama3(width));
            case LONG -> {
                factors.put("rope_factors_long.weight", list("long_factor", width));
                factors.put("rope_factors_short.weight", list("short_factor", width));
            }
            default -> {
            }
        }
        return factors;
    }

    /** Waves longer than the original context by the whole factor, short ones not, and those between in proportion. */
    private float[] llama3(int width) {
        double factor = number("factor");
        double low = number("low_freq_factor");
        double high = number("high_freq_factor");
        double context = original();
        float[] factors = new float[width / 2];
        for (int pair = 0; pair < factors.length; pair++) {
            double wave = 2 * Math.PI * Math.pow(theta(), 2.0 * pair / width);
            double smooth = Math.clamp((context / wave - low) / (high - low), 0, 1);
            factors[pair] = (float) (1 / ((1 - smooth) / factor + smooth));
        }
        return factors;
    }

    private float[] list(String key, int width) {
        JsonNode list = config.at(block() + "." + key);
        if (list.size() != width / 2 || !list.valueStream().allMatch(JsonNode::isNumber)) {
            throw new UserError(Code.BAD_MODEL, config.file() + ": expected " + width / 2 + " numbers at '" + block()
                    + "." + key + "', found " + list.size() + "; correct the file or fetch the model again");
        }
        float[] factors = new float[width / 2];
        for (int pair = 0; pair < factors.length; pair++) {
            factors[pair] = list.path(pair).floatValue();
        }
        return factors;
    }
}
