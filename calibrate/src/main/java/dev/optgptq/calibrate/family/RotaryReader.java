package dev.optgptq.calibrate.family;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;

/**
 * Reads the rotary embedding from config.json: "rope_parameters" as transformers 5 writes it, or "rope_theta" and
 * "rope_scaling" as earlier versions did.
 */
record RotaryReader(ModelConfig config) {

    private static final double DEFAULT_THETA = 10_000;

    Position.Rotary read(int headDim, RotaryLayout layout) {
        double share = number("partial_rotary_factor", 1.0);
        int rotaryDim = (int) (headDim * share);
        if (rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 != 0) {
            throw new UserError(UserError.Code.BAD_MODEL, config.file() + ": rotary embedding of " + rotaryDim
                    + " of " + headDim + " elements of a head; expected an even number within the head");
        }
        double theta = number("rope_theta", DEFAULT_THETA);
        if (!(theta > 0)) {
            throw new UserError(UserError.Code.BAD_MODEL,
                    config.file() + ": rope_theta is " + theta + "; expected a positive number");
        }
        return new Position.Rotary(theta, rotaryDim, layout, scaling(), DType.F32);
    }

    private RotaryScaling scaling() {
        String block = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
        if (!config.has(block)) {
            return new RotaryScaling.Default();
        }
        String type = type(block);
        return switch (type) {
            case "default" -> new RotaryScaling.Default();
            case "linear" -> new RotaryScaling.Linear(positive(block + ".factor"));
            case "llama3" -> llama3(block);
            default -> throw new UserError(UserError.Code.UNSUPPORTED_MODEL, config.file() + ": " + block
                    + ".rope_type is \"" + type + "\"; supported are default, linear, llama3");
        };
    }

    private String type(String block) {
        if (config.has(block + ".rope_type")) {
            return config.text(block + ".rope_type");
        }
        return config.has(block + ".type") ? config.text(block + ".type") : "default";
    }

    private RotaryScaling llama3(String block) {
        double low = positive(block + ".low_freq_factor");
        double high = positive(block + ".high_freq_factor");
        if (high <= low) {
            throw new UserError(UserError.Code.BAD_MODEL, config.file() + ": " + block + ".high_freq_factor is " + high
                    + "; expected more than low_freq_factor, " + low);
        }
        String original = block + ".original_max_position_embeddings";
        double positions = positive(config.has(original) ? original : "max_position_embeddings");
        return new RotaryScaling.Llama3(positive(block + ".factor"), low, high, positions);
    }

    /** A number of rope_parameters, or of the top level where older versions have it. */
    private double number(String key, double otherwise) {
        if (config.has("rope_parameters." + key)) {
            return config.number("rope_parameters." + key);
        }
        return config.has(key) ? config.number(key) : otherwise;
    }

    private double positive(String key) {
        double value = config.number(key);
        if (!(value > 0)) {
            throw new UserError(UserError.Code.BAD_MODEL,
                    config.file() + ": " + key + " is " + value + "; expected a positive number");
        }
        return value;
    }
}
