package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.solve.ActOrder;
import tools.jackson.databind.node.ObjectNode;

/** config.json and the other small files of a quantized checkpoint. */
public final class OutputConfig {

    private final QuantizeSettings settings;
    private final ModelDirectory source;
    private final CheckpointPlan plan;
    private final QuantizationConfig quantization;

    public OutputConfig(QuantizeSettings settings, ModelDirectory source, CheckpointPlan plan) {
        this.settings = settings;
        this.source = source;
        this.plan = plan;
        this.quantization = new QuantizationConfig(settings.grid().bits(), settings.grid().groupSize(),
                settings.grid().symmetric(), settings.irregularGroups(), settings.grid().format());
    }

    public QuantizationConfig quantization() {
        return quantization;
    }

    /**
     * The source's config with the quantization, and float16 as the dtype to compute in: scales are float16, and the
     * kernels of older runtimes take nothing else.
     */
    public void write(CheckpointWriter writer, Origin origin) {
        ObjectNode block = quantization.toJson(provenance(origin.tool() + ":" + origin.version()));
        block.put("block_name_to_quantize", blockName());
        ObjectNode config = (ObjectNode) source.config().json().deepCopy();
        config.put("dtype", "float16");
        config.put("torch_dtype", "float16");
        config.set("quantization_config", block);
        writer.writeJson("config.json", config);
        writer.writeJson("quantize_config.json", block);
        source.companions().forEach(writer::copy);
    }

    private QuantizationConfig.Provenance provenance(String quantizer) {
        return switch (settings.solving().calibrator()) {
            case RTN -> new QuantizationConfig.Provenance(quantizer, 0, false, false);
            case GPTQ, GRADIENT ->
                new QuantizationConfig.Provenance(quantizer, settings.solving().damp(),
                        settings.solving().trueSequential(), settings.solving().actOrder() == ActOrder.STATIC);
        };
    }

    /** "model.layers" of "model.layers.0.mlp.up_proj": optimum needs it for families it does not know. */
    private String blockName() {
        String module = plan.linears().keySet().iterator().next();
        return module.substring(0, module.indexOf(".0."));
    }
}
