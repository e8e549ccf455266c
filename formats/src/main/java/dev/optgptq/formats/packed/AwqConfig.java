package dev.optgptq.formats.packed;

import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.Collection;
import java.util.List;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** The quantization_config of AWQ checkpoints (transformers, AwqConfig; vLLM, awq.py). */
record AwqConfig() implements ConfigBlock {

    static final String METHOD = "awq";
    private static final String GEMM = "gemm";

    @Override
    public ObjectNode write(QuantizationConfig config, Provenance provenance, Collection<String> packed,
            List<String> plain) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("quant_method", METHOD);
        json.put("bits", config.bits());
        json.put("group_size", config.groupSize());
        json.put("zero_point", true);
        json.put("version", GEMM);
        ArrayNode skipped = json.putArray("modules_to_not_convert");
        plain.forEach(skipped::add);
        return json;
    }

    @Override
    public QuantizationConfig read(BlockFields fields) {
        int bits = fields.requiredInt(fields.present("bits") ? "bits" : "w_bit");
        if (bits != AwqFormat.BITS) {
            throw fields.unsupported(fields.present("bits") ? "bits" : "w_bit", "4");
        }
        if (!fields.flag("zero_point", true)) {
            throw fields.unsupported("zero_point", "true");
        }
        if (!fields.text("version", GEMM).equals(GEMM)) {
            throw fields.unsupported("version", "\"gemm\"");
        }
        int groupSize = fields.groupSize(fields.present("group_size") ? "group_size" : "q_group_size");
        return new QuantizationConfig(bits, groupSize, false, false, CheckpointFormat.AWQ);
    }
}
