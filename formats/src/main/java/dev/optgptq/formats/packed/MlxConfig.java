package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * What mlx-lm has at "quantization" of config.json (mlx_lm/utils.py, load_model): the common grid, and by the names of modules those of
 * their own. A module without scales is plain and need not be named. Symmetry is not said: zero points follow from biases.
 */
record MlxConfig() implements ConfigBlock {

    /** Of config.json; a second copy stands at quantization_config. */
    static final String KEY = "quantization";
    private static final String GROUP_SIZE = "group_size";
    private static final String BITS = "bits";
    private static final String MODE = "mode";
    private static final Set<String> OF_GRID = Set.of(GROUP_SIZE, BITS, MODE);
    /** mlx-lm stacks the experts of a layer, under names that differ from family to family. */
    private static final Pattern EXPERT = Pattern.compile(".*\\bexperts\\.\\d+\\..*");

    @Override
    public ObjectNode write(QuantizationConfig config, Provenance provenance, Collection<String> packed,
            List<String> plain) {
        requireNamed(config, packed);
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        put(json, config);
        for (String module : packed) {
            if (isOwn(config, module)) {
                put(json.putObject(module), config.forModule(module));
            }
        }
        return json;
    }

    private static void put(ObjectNode json, QuantizationConfig grid) {
        json.put(GROUP_SIZE, grid.groupSize());
        json.put(BITS, grid.bits());
    }

    private static boolean isOwn(QuantizationConfig config, String module) {
        QuantizationConfig grid = config.forModule(module);
        return grid.bits() != config.bits() || grid.groupSize() != config.groupSize();
    }

    /** Refuses experts with a grid of their own. */
    @Override
    public void requireNamed(QuantizationConfig config, Collection<String> packed) {
        for (String module : packed) {
            if (isOwn(config, module) && EXPERT.matcher(module).matches()) {
                throw new UserError(Code.BAD_SETTING, "format mlx: expected the common bits and groups in experts,"
                        + " which mlx-lm renames as it loads them, found others in " + module
                        + "; leave experts out of the rule, or use --format compressed-tensors");
            }
        }
    }

    @Override
    public QuantizationConfig read(BlockFields fields) {
        requireAffine(fields);
        int groupSize = groupSize(fields);
        List<ModuleGrid> modules = new ArrayList<>();
        for (String key : fields.json().propertyNames()) {
            if (fields.at(key).isObject()) {
                modules.add(module(key, fields.object(key)));
            } else if (!OF_GRID.contains(key) && !fields.at(key).isBoolean()) {
                throw fields.unsupported(key, "the settings of a module, true or false");
            }
        }
        return new QuantizationConfig(fields.bits(BITS), groupSize, false, false, CheckpointFormat.MLX, modules,
                List.of());
    }

    private static ModuleGrid module(String name, BlockFields fields) {
        for (String key : fields.json().propertyNames()) {
            if (!OF_GRID.contains(key)) {
                throw fields.unsupported(key, "only group_size, bits and mode");
            }
        }
        requireAffine(fields);
        return new ModuleGrid(ModuleGrid.exactly(name), fields.bits(BITS), groupSize(fields), false);
    }

    private static void requireAffine(BlockFields fields) {
        if (!fields.text(MODE, "affine").equals("affine")) {
            throw fields.unsupported(MODE, "\"affine\"");
        }
    }

    private static int groupSize(BlockFields fields) {
        int groupSize = fields.requiredInt(GROUP_SIZE);
        if (!MlxFormat.GROUP_SIZES.contains(groupSize)) {
            throw fields.unsupported(GROUP_SIZE, "32, 64 or 128");
        }
        return groupSize;
    }
}
