package dev.optgptq.formats.packed;

import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.Collection;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** How formats write the quantization_config of config.json. */
sealed interface ConfigBlock permits GptqConfig, CompressedTensorsConfig, AwqConfig, MlxConfig,
        SlimQuantConfig {

    /**
     * @param packed modules that are quantized
     * @param plain modules with a matrix that is not quantized
     */
    ObjectNode write(QuantizationConfig config, Provenance provenance, Collection<String> packed, List<String> plain);

    /** Throws UserError BAD_SETTING where it cannot name modules with a grid of their own. */
    default void requireNamed(QuantizationConfig config, Collection<String> packed) {}

    /** Throws UserError BAD_MODEL for a damaged block, UNSUPPORTED_MODEL for a form that is not read. */
    QuantizationConfig read(BlockFields fields);

    /** Reads a block of any format. */
    static QuantizationConfig read(JsonNode block, String origin) {
        BlockFields fields = BlockFields.of(block, origin);
        return reader(fields).read(fields);
    }

    /** Throws UserError UNSUPPORTED_MODEL for a method that is not read. */
    static void requireMethod(JsonNode block, String origin) {
        reader(BlockFields.of(block, origin));
    }

    private static ConfigBlock reader(BlockFields fields) {
        // AutoGPTQ's quantize_config.json has no method at all: it knew only one. GPTQModel calls it "method" too.
        String key = fields.present("quant_method") ? "quant_method" : "method";
        return switch (fields.text(key, GptqConfig.METHOD)) {
            case GptqConfig.METHOD -> {
                GptqConfig.requireKind(fields);
                yield new GptqConfig();
            }
            case CompressedTensorsConfig.METHOD -> new CompressedTensorsConfig();
            case AwqConfig.METHOD -> new AwqConfig();
            case SlimQuantConfig.METHOD -> new SlimQuantConfig();
            default -> throw fields.unsupported(key,
                    "\"gptq\", \"compressed-tensors\", \"awq\", \"slimquant_w4a8\", \"fp8\" or \"mxfp4\"");
        };
    }
}
