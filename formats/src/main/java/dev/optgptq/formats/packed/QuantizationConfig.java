package dev.optgptq.formats.packed;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * How the linears of a checkpoint are quantized.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale; -1 for one group per output
 * @param symmetric whether every zero point is 2^(bits-1)
 * @param descAct whether g_idx may be non-sequential
 * @param format how they are stored
 * @param modules those that have a grid of their own: of a module the first one counts whose pattern matches
 * @param plain patterns of linears in blocks that are not quantized, matched likewise: to be written where configs say so, never read
 */
public record QuantizationConfig(int bits, int groupSize, boolean symmetric, boolean descAct, CheckpointFormat format,
        List<ModuleGrid> modules, List<String> plain) {

    /** The group size that stands for all inputs. */
    public static final int ONE_GROUP = -1;

    /** The beginning of the names of an expert's modules. */
    public static final String EXPERTS = ".*\\.experts\\.[0-9]+\\.";

    /** Throws UserError BAD_SETTING for values that no checkpoint can have. */
    public QuantizationConfig {
        requireBits(bits);
        requireGroupSize(groupSize);
        modules = List.copyOf(modules);
        plain = List.copyOf(plain);
        requireHeld(bits, groupSize, symmetric, descAct, format);
        if (!modules.isEmpty() && !format.packing().holdsModules()) {
            throw new UserError(Code.BAD_SETTING,
                    "format " + format + ": expected the same grid in all modules, found "
                            + modules.size() + " of their own for some, such as " + modules.getFirst().words()
                            + "; use --format gptq or compressed-tensors");
        }
        modules.forEach(module -> requireHeld(module.bits, module.groupSize, module.symmetric, descAct, format));
    }

    /** One that is the same for all modules. */
    public QuantizationConfig(int bits, int groupSize, boolean symmetric, boolean descAct, CheckpointFormat format) {
        this(bits, groupSize, symmetric, descAct, format, List.of(), List.of());
    }

    private static void requireHeld(int bits, int groupSize, boolean symmetric, boolean descAct,
            CheckpointFormat format) {
        format.packing().require(new PackedGrid(bits, groupSize, symmetric, descAct));
    }

    /**
     * Reads and checks the block of any format, also as other tools write it; {@code origin} names the file in messages. Throws
     * UserError BAD_MODEL or UNSUPPORTED_MODEL.
     */
    public static QuantizationConfig fromJson(JsonNode block, String origin) {
        return ConfigBlock.read(block, origin);
    }

    /** The same of what mlx-lm has at "quantization", where no method is named. */
    public static QuantizationConfig fromMlx(JsonNode block, String origin) {
        return new MlxConfig().read(BlockFields.of(block, origin));
    }

    /** Throws UserError UNSUPPORTED_MODEL where the block is of a method that is not read, BAD_MODEL where it is none. */
    public static void requireMethod(JsonNode block, String origin) {
        ConfigBlock.requireMethod(block, origin);
    }

    /**
     * The block with every key that runtimes read.
     *
     * @param packed modules that are quantized
     * @param plain modules with a matrix that is not
     */
    public ObjectNode toJson(Provenance provenance, Collection<String> packed, List<String> plain) {
        return format.block().write(this, provenance, packed, plain);
    }

    /** Throws UserError BAD_SETTING where the config of the format cannot name modules with a grid of their own. */
    public void requireNamed(Collection<String> packed) {
        format.block().requireNamed(this, packed);
    }

    /** The settings of one module, the same for all that is asked of them. */
    public QuantizationConfig forModule(String module) {
        return modules.stream().filter(rule -> rule.matches(module)).findFirst().map(this::forGrid)
                .orElseGet(() -> new QuantizationConfig(bits, groupSize, symmetric, descAct, format));
    }

    /** Whether a linear of a block is named as not quantized. */
    public boolean isPlain(String module) {
        return plain.stream().anyMatch(pattern -> Pattern.compile(pattern).matcher(module).lookingAt());
    }

    /** The same for the modules of one of the own grids. */
    public QuantizationConfig forGrid(ModuleGrid module) {
        return new QuantizationConfig(module.bits, module.groupSize, module.symmetric, descAct, format);
    }

    /** The same with other patterns of linears that are not quantized. */
    public QuantizationConfig withPlain(List<String> patterns) {
        return new QuantizationConfig(bits, groupSize, symmetric, descAct, format, modules, patterns);
    }

    /** The same grids in another format. Throws UserError BAD_SETTING where that cannot hold them. */
    public QuantizationConfig in(CheckpointFormat other) {
        return new QuantizationConfig(bits, groupSize, symmetric, descAct, other, modules, plain);
    }

    /** The same in the GPTQ layout from which the tensors of the format follow. */
    public QuantizationConfig inGptqLayout() {
        return in(format.packing().zeroOffset() == 1 ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2);
    }

    /** All grids that modules have: the common one, and those of modules of their own. */
    public List<PackedGrid> grids() {
        List<PackedGrid> grids = new ArrayList<>();
        grids.add(new PackedGrid(bits, groupSize, symmetric, descAct));
        modules.forEach(module -> grids.add(new PackedGrid(module.bits, module.groupSize, module.symmetric, descAct)));
        return grids;
    }

    /** "model.layers" of "model.layers.0.mlp.up_proj": optimum needs it for families it does not know. */
    public static Optional<String> blocksOf(String module) {
        int first = module.indexOf(".0.");
        return first < 0 ? Optional.empty() : Optional.of(module.substring(0, first));
    }

    /** The most by which a scale of a module changes as it is rounded to float16, relative to it; 0 for scales that are stored so. */
    public double scaleChange(String module, Map<String, TensorView> tensors) {
        double unit = format.packing().scaleUnit(forModule(module));
        return tensors(module, layout(module, tensors)).stream()
                .filter(tensor -> tensor.part() == PackedPart.SCALES && tensor.isDecoded())
                .mapToDouble(tensor -> ScaleReader.change(LinearTensors.scales(tensor.spec(), tensors), unit)).max()
                .orElse(0);
    }

    /** The most by which weights of a module change as biases become zero points, in steps; 0 in formats with zero points. */
    public double biasChange(String module, Map<String, TensorView> tensors) {
        return format == CheckpointFormat.MLX
                ? MlxLinearReader.of(module, tensors, forModule(module)).biasChange()
                : 0;
    }

    private List<StoredTensor> tensors(String module, PackedLayout layout) {
        return tensors(module, layout.inputs(), layout.outputs());
    }

    /** The sizes that the tensors of a packed module state. Throws UserError like PackedFormat's layout(). */
    public PackedLayout layout(String module, Map<String, TensorView> tensors) {
        return format.packing().layout(module, tensors, forModule(module));
    }

    /** The tensors of a module in this format, in the order they are written. */
    public List<StoredTensor> tensors(String module, int inputs, int outputs) {
        QuantizationConfig grid = forModule(module);
        return format.packing().tensors(new PackedLayout(module, grid.bits, grid.groupSize, inputs, outputs), grid);
    }

    static void requireBits(int bits) {
        if (!PackedGrid.BITS.contains(bits)) {
            throw new UserError(Code.BAD_SETTING, "bits: expected 2, 3, 4 or 8, found " + bits);
        }
    }

    static void requireGroupSize(int groupSize) {
        if (groupSize != ONE_GROUP && groupSize <= 0) {
            throw new UserError(Code.BAD_SETTING, "group size: expected a positive number, or -1 for one group per"
                    + " output, found " + groupSize);
        }
    }

    /**
     * Informational keys: who wrote the checkpoint and how.
     *
     * @param quantizer "name:version"
     * @param damp share of the Hessian's mean diagonal that was added to it; 0 where there was none
     * @param trueSequential whether inputs were recomputed inside a block
     * @param staticGroups whether groups were fixed before the columns were ordered
     */
    public record Provenance(String quantizer, double damp, boolean trueSequential, boolean staticGroups) {}

    /**
     * Modules with a grid of their own.
     *
     * @param pattern a regular expression that matches the beginning of their names, as runtimes match it
     */
    public record ModuleGrid(String pattern, int bits, int groupSize, boolean symmetric) {

        public ModuleGrid {
            requireBits(bits);
            requireGroupSize(groupSize);
        }

        /** Throws UserError BAD_MODEL, naming the place, for a pattern that is none. */
        static ModuleGrid of(String pattern, int bits, int groupSize, boolean symmetric, String origin) {
            try {
                Pattern.compile(pattern);
            } catch (PatternSyntaxException e) {
                throw new UserError(Code.BAD_MODEL,
                        origin + ": expected a regular expression, found '" + pattern + "' ("
                                + e.getDescription() + "); correct the file or fetch it again",
                        e);
            }
            return new ModuleGrid(pattern, bits, groupSize, symmetric);
        }

        /** A pattern that matches one module and no other, in Python too. */
        static String exactly(String module) {
            return module.replaceAll("[^A-Za-z0-9_]", "\\\\$0") + "$";
        }

        String words() {
            return pattern + " (" + new PackedGrid(bits, groupSize, symmetric, false) + ")";
        }

        public boolean matches(String module) {
            return Pattern.compile(pattern).matcher(module).lookingAt();
        }
    }
}
