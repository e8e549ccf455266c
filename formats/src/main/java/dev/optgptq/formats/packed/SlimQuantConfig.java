package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The quantization_config of SlimQuant W4A8. Its loader reads the method's name and nothing else: experts are in 4 bits, every other
 * linear in 8 (HYGON-AI/vllm-plugin-das at 0faa3af, slimquant_w4a8.py, from_config and get_quant_method).
 */
record SlimQuantConfig() implements ConfigBlock {

    static final String METHOD = "slimquant_w4a8";
    private static final Pattern EXPERT = Pattern.compile(QuantizationConfig.EXPERTS);

    @Override
    public ObjectNode write(QuantizationConfig config, Provenance provenance, Collection<String> packed,
            List<String> plain) {
        requireNamed(config, packed);
        return JsonNodeFactory.instance.objectNode().put("quant_method", METHOD).put("activation_scheme", "dynamic");
    }

    /** Refuses experts in 8 bits, others in 4, and linears that are left as they are. */
    @Override
    public void requireNamed(QuantizationConfig config, Collection<String> packed) {
        if (!config.plain().isEmpty()) {
            throw new UserError(Code.BAD_SETTING, "format slimquant: expected every linear of a block quantized, as its"
                    + " loader takes them to be, found " + config.plain().getFirst()
                    + " left as it is; use --format compressed-tensors");
        }
        for (String module : packed) {
            int expected = EXPERT.matcher(module).lookingAt() ? SlimQuantFormat.EXPERT_BITS : Int8Format.BITS;
            int bits = config.forModule(module).bits();
            if (bits != expected) {
                throw new UserError(Code.BAD_SETTING, "format slimquant: expected " + expected + " bits in " + module
                        + ", found " + bits + "; its experts have 4 bits and all other linears 8, use --format"
                        + " compressed-tensors for others");
            }
        }
    }

    @Override
    public QuantizationConfig read(BlockFields fields) {
        fields.requireAbsent("checkpoint_format");
        fields.requireAbsent("w4_dir");
        return new QuantizationConfig(Int8Format.BITS, QuantizationConfig.ONE_GROUP, true, false,
                CheckpointFormat.SLIMQUANT, List.of(new ModuleGrid(QuantizationConfig.EXPERTS,
                        SlimQuantFormat.EXPERT_BITS, QuantizationConfig.ONE_GROUP, true)),
                List.of());
    }
}
