package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** The quantization_config of GPTQ checkpoints, as AutoGPTQ, GPTQModel, optimum and we write it. */
record GptqConfig() implements ConfigBlock {

    static final String METHOD = "gptq";
    /** Before the pattern of modules that are not quantized, and optionally before that of others (GPTQModel, dynamic). */
    private static final String EXCLUDES = "-:";
    private static final String INCLUDES = "+:";
    private static final List<String> READ_OF_RULE = List.of("bits", "group_size", "sym", "desc_act");
    /** How the codes were chosen. */
    private static final Set<String> WITHOUT_EFFECT = Set.of("mse", "damp_percent", "damp_auto_increment",
            "static_groups",
            "act_group_aware");

    /** The block with every key that vLLM, transformers and GPTQModel read. */
    @Override
    public ObjectNode write(QuantizationConfig config, Provenance provenance, Collection<String> packed,
            List<String> plain) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("quant_method", METHOD);
        json.put("bits", config.bits());
        json.put("group_size", config.groupSize());
        json.put("sym", config.symmetric());
        json.put("desc_act", config.descAct());
        json.put("lm_head", false);
        // GPTQModel reads one name, transformers with optimum the other.
        json.put("checkpoint_format", config.format().label());
        json.put("format", config.format().label());
        json.put("pack_dtype", "int32");
        // transformers refuses a damp_percent outside (0, 1); round-to-nearest has none.
        if (provenance.damp() > 0 && provenance.damp() < 1) {
            json.put("damp_percent", provenance.damp());
        }
        json.put("true_sequential", provenance.trueSequential());
        json.put("static_groups", provenance.staticGroups());
        if (!config.modules().isEmpty() || !config.plain().isEmpty()) {
            ObjectNode rules = json.putObject("dynamic");
            config.plain().forEach(pattern -> rules.putObject(EXCLUDES + pattern));
            for (ModuleGrid rule : config.modules()) {
                rules.putObject(INCLUDES + rule.pattern()).put("bits", rule.bits())
                        .put("group_size", rule.groupSize()).put("sym", rule.symmetric());
            }
        }
        json.putObject("meta").putArray("quantizer").add(provenance.quantizer());
        return json;
    }

    @Override
    public QuantizationConfig read(BlockFields fields) {
        int bits = fields.bits("bits");
        int groupSize = fields.groupSize("group_size");
        CheckpointFormat format = format(fields);
        boolean symmetric = fields.flag("sym", true);
        requireHeld(symmetric, format, fields);
        // Without the key g_idx counts, which is right for every file; AutoGPTQ's default is the same.
        QuantizationConfig common = new QuantizationConfig(bits, groupSize, symmetric, fields.flag("desc_act", true),
                format);
        return dynamic(fields, common);
    }

    private static void requireHeld(boolean symmetric, CheckpointFormat format, BlockFields fields) {
        if (!symmetric && format == CheckpointFormat.GPTQ) {
            throw new UserError(Code.UNSUPPORTED_MODEL, fields.origin()
                    + ": expected sym true or checkpoint_format gptq_v2, found"
                    + " sym false with gptq; such files store a zero point of 0 as a borrow from its neighbour and tools"
                    + " disagree how to undo it, convert the checkpoint to gptq_v2");
        }
    }

    /** Throws UserError UNSUPPORTED_MODEL for kinds of GPTQ checkpoints that are not read. */
    static void requireKind(BlockFields fields) {
        if (fields.present("method") && !fields.text("method", METHOD).equals(METHOD)) {
            throw fields.unsupported("method", "\"" + METHOD + "\"");
        }
        if (fields.flag("is_marlin_format", false)) {
            throw fields.unsupported("is_marlin_format", "false");
        }
        if (!fields.text("pack_dtype", "int32").equals("int32")) {
            throw fields.unsupported("pack_dtype", "\"int32\"");
        }
    }

    /**
     * GPTQModel's rules for some modules (quantization/config.py, dynamic_get): of a module the first that matches counts. Those that
     * only exclude modules need nothing: such modules have plain weights.
     */
    private static QuantizationConfig dynamic(BlockFields fields, QuantizationConfig common) {
        if (!fields.present("dynamic")) {
            return common;
        }
        List<ModuleGrid> modules = new ArrayList<>();
        BlockFields rules = fields.object("dynamic");
        for (String key : rules.json().propertyNames()) {
            if (!key.startsWith(EXCLUDES)) {
                modules.add(rule(rules, key, common));
            }
        }
        return new QuantizationConfig(common.bits(), common.groupSize(), common.symmetric(), common.descAct(),
                common.format(), modules, List.of());
    }

    private static ModuleGrid rule(BlockFields rules, String key, QuantizationConfig common) {
        BlockFields rule = rules.object(key);
        for (String name : rule.json().propertyNames()) {
            if (!READ_OF_RULE.contains(name) && !WITHOUT_EFFECT.contains(name)) {
                throw rule.unsupported(name, "only " + String.join(", ", READ_OF_RULE));
            }
        }
        if (rule.flag("desc_act", common.descAct()) != common.descAct()) {
            throw rule.unsupported("desc_act", "the " + common.descAct() + " of all modules");
        }
        boolean symmetric = rule.flag("sym", common.symmetric());
        requireHeld(symmetric, common.format(), rule);
        return ModuleGrid.of(key.startsWith(INCLUDES) ? key.substring(INCLUDES.length()) : key,
                rule.present("bits") ? rule.bits("bits") : common.bits(),
                rule.present("group_size") ? rule.groupSize("group_size") : common.groupSize(),
                symmetric, rules.origin());
    }

    private static CheckpointFormat format(BlockFields fields) {
        CheckpointFormat format = CheckpointFormat.GPTQ;
        String decidedBy = null;
        for (String key : new String[] {"checkpoint_format", "format"}) {
            if (!fields.present(key)) {
                continue;
            }
            CheckpointFormat found = switch (fields.at(key).asString("")) {
                case "gptq" -> CheckpointFormat.GPTQ;
                case "gptq_v2" -> CheckpointFormat.GPTQ_V2;
                default -> throw fields.unsupported(key, "\"gptq\" or \"gptq_v2\"");
            };
            if (decidedBy != null && found != format) {
                throw fields.wrong(key, "the value at '" + decidedBy + "', \"" + format.label() + "\"");
            }
            format = found;
            decidedBy = key;
        }
        return format;
    }
}
