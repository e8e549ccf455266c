package dev.optgptq.formats.packed;

import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** The quantization_config of compressed-tensors (quantization/quant_config.py of vllm-project/compressed-tensors). */
record CompressedTensorsConfig() implements ConfigBlock {

    static final String METHOD = "compressed-tensors";
    private static final String PACKED = "pack-quantized";
    private static final String INT = "int-quantized";
    private static final String REGEX = "re:";
    private static final String EVERY_LINEAR = "Linear";

    /** What a group of modules says. */
    private record Group(List<String> targets, int bits, int groupSize, boolean symmetric, boolean byActivity) {}

    @Override
    public ObjectNode write(QuantizationConfig config, Provenance provenance, Collection<String> packed,
            List<String> plain) {
        boolean rounded = config.format() == CheckpointFormat.W8A8;
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("quant_method", METHOD);
        json.put("format", rounded ? INT : PACKED);
        json.put("quantization_status", "compressed");
        json.putNull("global_compression_ratio");
        json.putNull("kv_cache_scheme");
        ArrayNode ignored = json.putArray("ignore");
        plain.forEach(ignored::add);
        ObjectNode groups = json.putObject("config_groups");
        // Patterns of modules count before the class of all linears.
        for (ModuleGrid module : config.modules()) {
            group(groups, REGEX + module.pattern(), config.forGrid(module), provenance.staticGroups(), rounded);
        }
        group(groups, EVERY_LINEAR, config, provenance.staticGroups(), rounded);
        return json;
    }

    private static void group(ObjectNode groups, String target, QuantizationConfig grid, boolean staticGroups,
            boolean rounded) {
        ObjectNode group = groups.putObject("group_" + groups.size());
        group.putArray("targets").add(target);
        ObjectNode weights = group.putObject("weights");
        numbers(weights, grid.bits(), grid.symmetric());
        boolean channel = grid.groupSize() == QuantizationConfig.ONE_GROUP;
        weights.put("strategy", channel ? "channel" : "group");
        if (channel) {
            weights.putNull("group_size");
        } else {
            weights.put("group_size", grid.groupSize());
        }
        weights.put("dynamic", false);
        if (grid.descAct()) {
            weights.put("actorder", "group");
        } else if (staticGroups) {
            weights.put("actorder", "static");
        } else {
            weights.putNull("actorder");
        }
        weights.put("observer", "minmax");
        if (rounded) {
            ObjectNode inputs = group.putObject("input_activations");
            numbers(inputs, Int8Format.BITS, true);
            inputs.put("strategy", "token");
            inputs.put("dynamic", true);
        } else {
            group.putNull("input_activations");
        }
        group.putNull("output_activations");
    }

    private static void numbers(ObjectNode json, int bits, boolean symmetric) {
        json.put("num_bits", bits);
        json.put("type", "int");
        json.put("symmetric", symmetric);
    }

    @Override
    public QuantizationConfig read(BlockFields fields) {
        boolean rounded = switch (fields.text("format", PACKED)) {
            case PACKED -> false;
            case INT -> true;
            default -> throw fields.unsupported("format", "\"" + PACKED + "\" or \"" + INT + "\"");
        };
        fields.requireAbsent("kv_cache_scheme");
        if (fields.present("sparsity_config") && !fields.at("sparsity_config").isEmpty()) {
            throw fields.unsupported("sparsity_config", "nothing");
        }
        BlockFields groups = fields.object("config_groups");
        List<Group> read = new ArrayList<>();
        for (String name : groups.json().propertyNames()) {
            read.add(group(groups.object(name), rounded));
        }
        return config(fields, read, rounded ? CheckpointFormat.W8A8 : CheckpointFormat.COMPRESSED_TENSORS);
    }

    private static QuantizationConfig config(BlockFields fields, List<Group> groups, CheckpointFormat format) {
        Group every = null;
        List<ModuleGrid> modules = new ArrayList<>();
        for (Group group : groups) {
            for (String target : group.targets) {
                if (target.equals(EVERY_LINEAR)) {
                    every = group;
                } else {
                    String pattern = target.startsWith(REGEX)
                            ? target.substring(REGEX.length())
                            : ModuleGrid.exactly(target);
                    modules.add(ModuleGrid.of(pattern, group.bits, group.groupSize, group.symmetric,
                            fields.origin()));
                }
            }
        }
        if (groups.isEmpty()) {
            throw fields.wrong("config_groups", "a group of modules at least");
        }
        Group base = every == null ? groups.getFirst() : every;
        for (Group group : groups) {
            if (group.byActivity != base.byActivity) {
                throw fields.unsupported("config_groups", "the same actorder in all groups");
            }
        }
        return new QuantizationConfig(base.bits, base.groupSize, base.symmetric, base.byActivity, format, modules,
                List.of());
    }

    private static Group group(BlockFields group, boolean rounded) {
        group.requireAbsent("output_activations");
        if (rounded) {
            requireRoundedByToken(group.object("input_activations"));
        } else {
            group.requireAbsent("input_activations");
        }
        BlockFields weights = group.object("weights");
        if (!weights.text("type", "int").equals("int")) {
            throw weights.unsupported("type", "\"int\"");
        }
        if (weights.flag("dynamic", false)) {
            throw weights.unsupported("dynamic", "false");
        }
        int groupSize = switch (weights.text("strategy", weights.present("group_size") ? "group" : "channel")) {
            case "group" -> weights.groupSize("group_size");
            case "channel" -> QuantizationConfig.ONE_GROUP;
            default -> throw weights.unsupported("strategy", "\"group\" or \"channel\"");
        };
        boolean byActivity = switch (weights.text("actorder", "static")) {
            case "static", "weight" -> false;
            case "group", "dynamic" -> true;
            default -> throw weights.unsupported("actorder", "null, \"static\" or \"group\"");
        };
        List<String> targets = new ArrayList<>();
        for (JsonNode target : group.at("targets")) {
            targets.add(target.asString(""));
        }
        return new Group(targets, weights.bits("num_bits"), groupSize, weights.flag("symmetric", true), byActivity);
    }

    /** The only form that is written; what the runtime rounds is not in the weights. */
    private static void requireRoundedByToken(BlockFields inputs) {
        if (inputs.requiredInt("num_bits") != Int8Format.BITS) {
            throw inputs.unsupported("num_bits", "8");
        }
        if (!inputs.text("strategy", "token").equals("token")) {
            throw inputs.unsupported("strategy", "\"token\"");
        }
        if (!inputs.flag("dynamic", true)) {
            throw inputs.unsupported("dynamic", "true");
        }
    }
}
