package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.Family.RotaryForm;
import dev.optgptq.formats.dtype.DType;
import java.util.List;
import tools.jackson.databind.JsonNode;

/**
 * Reads the rotary embedding from config.json where transformers 5 reads it: from "rope_scaling", unless that is empty, else
 * from "rope_parameters", which may hold one block for each type of layer; fields in the block take precedence over
 * those beside it.
 *
 * @param headDim elements of a head
 * @param positions the longest sequence of the model
 */
record RotaryReader(ConfigReader config, RotaryForm form, int headDim, int positions) {

    private static final double DEFAULT_THETA = 10_000;
    private static final String PARTIAL = "partial_rotary_factor";
    private static final String ORIGINAL = "original_max_position_embeddings";
    /** Of image and video positions, which are all equal for text. */
    private static final List<String> WITHOUT_EFFECT = List.of("mrope_section", "mrope_interleaved");

    static RotaryReader of(ConfigReader config, RotaryForm form, int headDim, int positions) {
        RotaryReader reader = new RotaryReader(config, form, headDim, positions);
        return form.standard() == null || !reader.block().isEmpty()
                ? reader
                : new RotaryReader(config.withDefault("rope_parameters", form.standard()), form, headDim, positions);
    }

    /** @param local whether a block of the local form is meant */
    Position.Rotary read(boolean local) {
        String block = block();
        boolean nested = !block.isEmpty() && (config.has(block + ".full_attention")
                || config.has(block + ".sliding_attention"));
        if (nested) {
            config.at(block + ".full_attention"); // there may be no such layer
            config.at(block + ".sliding_attention");
            block += local ? ".sliding_attention" : ".full_attention";
        }
        for (String key : WITHOUT_EFFECT) {
            config.at("rope_parameters." + key);
            config.at("rope_scaling." + key);
        }
        RotaryScaling written = scaling(block);
        RotaryScaling scaling = local && !nested ? new RotaryScaling.Default() : written;
        return new Position.Rotary(theta(block, local && !nested), rotaryDim(block, scaling), form.layout(), scaling,
                DType.F32);
    }

    /**
     * The factor on the scores' scale of latent attention: the square of the scaling's factor.
     */
    double scoreFactor() {
        String block = block();
        if (block.isEmpty() || !(scaling(block) instanceof RotaryScaling.Yarn yarn)) {
            return 1;
        }
        double all = optional(block, "mscale_all_dim", 0);
        double factor = all == 0 ? 1 : RotaryScaling.Yarn.mscale(yarn.factor(), all);
        return factor * factor;
    }

    /** The key of the block that counts; empty when there is none. */
    private String block() {
        for (String key : List.of("rope_scaling", "rope_parameters")) {
            if (config.has(key)) {
                JsonNode found = config.at(key);
                if (!found.isObject()) {
                    throw config.bad(key + " is " + found + "; expected an object");
                }
                if (!found.isEmpty()) {
                    return key;
                }
            }
        }
        return "";
    }

    private double theta(String block, boolean local) {
        if (local) {
            return positive(form.local() == null ? DEFAULT_THETA : form.local().theta().number(config));
        }
        if (!block.isEmpty() && config.has(block + ".rope_theta")) {
            return config.positive(block + ".rope_theta");
        }
        if (form.theta() != null) {
            return positive(form.theta().number(config));
        }
        return config.has("rope_theta") ? config.positive("rope_theta") : DEFAULT_THETA;
    }

    private double positive(double theta) {
        if (!(theta > 0)) {
            throw config.bad("the rotary base is " + theta + "; expected a positive number");
        }
        return theta;
    }

    private int rotaryDim(String block, RotaryScaling scaling) {
        double share = share(block, scaling);
        int rotaryDim = (int) (headDim * share);
        if (rotaryDim < 1 || rotaryDim > headDim) {
            throw config.bad(PARTIAL + " is " + share + ", " + rotaryDim + " of " + headDim
                    + " elements of a head; expected at least one and no more than the head has");
        }
        if (rotaryDim % 2 != 0) {
            throw config.unsupported("rotary embedding of " + rotaryDim + " of " + headDim + " elements of a head"
                    + (share == 1 ? "" : ", by " + PARTIAL + " " + share)
                    + "; supported are even numbers, since elements turn in pairs");
        }
        return rotaryDim;
    }

    private double share(String block, RotaryScaling scaling) {
        config.at(PARTIAL); // beside the block it is a filler in files of transformers 5
        boolean inside = !block.isEmpty() && config.has(block + "." + PARTIAL);
        if (form.partial() != null) {
            return inside
                    ? config.number(block + "." + PARTIAL)
                    : Setting.optionalNumber(form.partial(), config).orElse(1.0);
        }
        boolean given = inside || config.has(PARTIAL);
        double found = inside ? config.number(block + "." + PARTIAL) : given ? config.number(PARTIAL) : 1;
        if (found != 1 && !(scaling instanceof RotaryScaling.Default)) {
            throw config.unsupported(PARTIAL + " is " + found
                    + " with scaled rotary frequencies, which no implementation of this family computes");
        }
        // transformers' default rotary embedding of this family does not read it either.
        return 1;
    }

    private RotaryScaling scaling(String block) {
        if (block.isEmpty()) {
            return new RotaryScaling.Default();
        }
        String type = type(block);
        return switch (type) {
            case "default", "mrope" -> new RotaryScaling.Default();
            case "linear" -> new RotaryScaling.Linear(config.positive(block + ".factor"));
            case "dynamic" -> new RotaryScaling.Dynamic(config.positive(block + ".factor"), positions);
            case "llama3" -> llama3(block);
            case "yarn" -> yarn(block);
            case "longrope", "su" -> longRope(block);
            default -> throw config.unsupported(block + ".rope_type is \"" + type
                    + "\"; supported are default, linear, dynamic, llama3, yarn, longrope");
        };
    }

    private String type(String block) {
        if (Boolean.TRUE.equals(form.ignoresOldType()) && block.equals("rope_scaling")
                && !config.has(block + ".rope_type")) {
            return "default"; // "type" and what belongs to it stay unread, which a remark says
        }
        config.at(block + ".type");
        if (config.has(block + ".rope_type")) {
            return config.text(block + ".rope_type");
        }
        return config.has(block + ".type") ? config.text(block + ".type") : "default";
    }

    private RotaryScaling llama3(String block) {
        double low = config.positive(block + ".low_freq_factor");
        double high = config.positive(block + ".high_freq_factor");
        if (high <= low) {
            throw config.bad(block + ".high_freq_factor is " + high + "; expected more than low_freq_factor, " + low);
        }
        return new RotaryScaling.Llama3(config.positive(block + ".factor"), low, high, original(block));
    }

    private RotaryScaling yarn(String block) {
        double original = original(block);
        double factor = factor(block, original);
        double mscale = optional(block, "mscale", 0);
        double all = optional(block, "mscale_all_dim", 0);
        double attention = mscale != 0 && all != 0
                ? RotaryScaling.Yarn.mscale(factor, mscale) / RotaryScaling.Yarn.mscale(factor, all)
                : RotaryScaling.Yarn.mscale(factor, 1);
        boolean truncate = !config.has(block + ".truncate") || config.flag(block + ".truncate");
        return new RotaryScaling.Yarn(factor, original, optional(block, "beta_fast", 32),
                optional(block, "beta_slow", 1), truncate, optional(block, "attention_factor", attention));
    }

    private RotaryScaling longRope(String block) {
        double original = original(block);
        double factor = factor(block, original);
        double attention = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
        return new RotaryScaling.LongRope(factors(block, "short_factor"), factors(block, "long_factor"), original,
                optional(block, "attention_factor", attention));
    }

    private List<Double> factors(String block, String key) {
        JsonNode found = config.at(block + "." + key);
        int pairs = (int) (headDim * share(block, new RotaryScaling.Default())) / 2;
        if (found.size() != pairs
                || !found.valueStream().allMatch(value -> value.isNumber() && value.doubleValue() > 0)) {
            throw config.bad(block + "." + key + " has " + found.size() + " entries; expected " + pairs
                    + " positive numbers, one for each pair of a head");
        }
        return found.valueStream().map(JsonNode::doubleValue).toList();
    }

    private double factor(String block, double original) {
        return config.has(block + ".factor") ? config.positive(block + ".factor") : positions / original;
    }

    /** Beside the block it takes precedence, as in transformers. */
    private double original(String block) {
        if (config.has(ORIGINAL)) {
            config.at(block + "." + ORIGINAL);
            return config.positive(ORIGINAL);
        }
        return config.has(block + "." + ORIGINAL) ? config.positive(block + "." + ORIGINAL) : positions;
    }

    private double optional(String block, String key, double otherwise) {
        return config.has(block + "." + key) ? config.number(block + "." + key) : otherwise;
    }
}
