package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import tools.jackson.databind.node.ObjectNode;

/**
 * The shape of a model: a config.json without weights.
 *
 * @param name "llama-7b", or the path of a config.json
 */
public record ModelShape(String name, ModelConfig config, ModelSpec spec) {

    /** The bundled shapes, config.json files among the resources. */
    public static final List<String> BUNDLED = List.of("tiny", "tinyllama", "llama-7b", "llama-405b", "deepseek-671b");

    /** What config.json calls the number of blocks. */
    private static final List<String> BLOCK_COUNTS = List.of("num_hidden_layers", "n_layers", "n_layer");

    /** Of quantized random weights. */
    static final int GROUP_SIZE = 128;

    /** A bundled shape, by its name, or any model's config.json, by its path. Throws UserError BAD_SETTING. */
    public static ModelShape of(String name) {
        ModelConfig config = BUNDLED.contains(name) ? bundled(name) : read(name);
        return new ModelShape(name, config, ModelSpec.resolve(config));
    }

    /** Query heads of its first block. */
    public int heads() {
        return attention().heads();
    }

    /** Key-value heads of its first block. */
    public int kvHeads() {
        return attention().kvHeads();
    }

    private Mixer.Attention attention() {
        if (spec.block(0).mixer() instanceof Mixer.Attention attention) {
            return attention;
        }
        throw new UserError(Code.BAD_SETTING,
                "--shape: expected a model with attention over keys and values, found " + spec.family());
    }

    /** The same with another number of KV heads; with fewer than 16 bits, quantized in groups of 128. */
    ModelShape with(int kvHeads, int bits) {
        ObjectNode json = ((ObjectNode) config.json()).deepCopy();
        json.put("num_key_value_heads", kvHeads);
        if (bits < 16) {
            json.putObject("quantization_config").put("quant_method", "gptq").put("bits", bits)
                    .put("group_size", GROUP_SIZE).put("sym", false).put("desc_act", false)
                    .put("checkpoint_format", "gptq_v2");
        }
        ModelConfig changed = new ModelConfig(json, config.file());
        return new ModelShape(name, changed, ModelSpec.resolve(changed));
    }

    /** The same with its first blocks alone. UserError BAD_SETTING if it has fewer. */
    ModelShape first(int blocks) {
        if (blocks > spec.blocks()) {
            throw new UserError(Code.BAD_SETTING,
                    "--layers " + blocks + ": " + name + " has " + spec.blocks() + " layers");
        }
        ObjectNode json = ((ObjectNode) config.json()).deepCopy();
        for (String count : BLOCK_COUNTS) {
            if (json.has(count)) {
                json.put(count, blocks);
            }
        }
        ModelConfig changed = new ModelConfig(json, config.file());
        return new ModelShape(name, changed, ModelSpec.resolve(changed));
    }

    /** Numbers in the stored matrices. */
    double parameters() {
        double blocks = spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .mapToDouble(linear -> (double) linear.inputs() * linear.outputs()).sum();
        return blocks + (spec.head().tied() ? 1.0 : 2.0) * spec.vocabSize() * spec.hiddenSize();
    }

    private static ModelConfig read(String name) {
        Path file = Path.of(name);
        if (!Files.isRegularFile(file)) {
            throw new UserError(Code.BAD_SETTING, "--shape: expected one of " + String.join(", ", BUNDLED)
                    + ", or the path of a model's config.json, found " + name);
        }
        return ModelConfig.read(file);
    }

    private static ModelConfig bundled(String name) {
        String resource = "shapes/" + name + ".json";
        return new ModelConfig(Json.bundled(ModelShape.class, resource), Path.of(resource));
    }
}
