package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.solve.ActOrder;
import java.util.List;
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
        this.quantization = plan.quantization();
    }

    public QuantizationConfig quantization() {
        return quantization;
    }

    /**
     * The source's config with the quantization. Scales are always float16; loaders convert them to their compute
     * dtype.
     *
     * @param dtype to compute in
     */
    public void write(CheckpointWriter writer, Origin origin, OutputDtype dtype) {
        ObjectNode block = block(origin);
        writer.writeJson("config.json", config(block, dtype));
        if (quantization.format().copiesConfig()) {
            writer.writeJson("quantize_config.json", block);
        }
        source.companions().forEach(writer::copy);
    }

    /** Rewrites config.json with another compute dtype. */
    public void replace(CheckpointWriter writer, Origin origin, OutputDtype dtype) {
        writer.replaceJson("config.json", config(block(origin), dtype));
    }

    private ObjectNode block(Origin origin) {
        ObjectNode block = quantization.toJson(provenance(origin.tool() + ":" + origin.version()),
                plan.linears().keySet(), plan.plainModules());
        if (quantization.format().copiesConfig()) {
            QuantizationConfig.blocksOf(plan.linears().keySet().iterator().next())
                    .ifPresent(blocks -> block.put("block_name_to_quantize", blocks));
        }
        return block;
    }

    private ObjectNode config(ObjectNode block, OutputDtype dtype) {
        ObjectNode config = (ObjectNode) source.config().json().deepCopy();
        for (String key : List.of("dtype", "torch_dtype")) {
            config.put(key, dtype.name());
            if (config.path("text_config") instanceof ObjectNode text && text.has(key)) {
                text.put(key, dtype.name()); // of a model of text and more; loaders look at either
            }
        }
        quantization.format().put(block, config);
        return config;
    }

    private QuantizationConfig.Provenance provenance(String quantizer) {
        return switch (settings.solving().calibrator()) {
            case RTN -> new QuantizationConfig.Provenance(quantizer, 0, false, false);
            case GPTQ, GRADIENT ->
                new QuantizationConfig.Provenance(quantizer, settings.solving().damp(),
                        settings.solving().trueSequential(), settings.solving().actOrder() == ActOrder.STATIC);
        };
    }
}
