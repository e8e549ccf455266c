package dev.optgptq.formats.exchange;

import dev.optgptq.formats.files.OutputFiles;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.packed.StoredTensor;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import tools.jackson.databind.node.ObjectNode;

/** A quantized checkpoint in another format, without quantizing again: codes, scales and zero points go over as they are. */
public final class FormatExport {

    private final ModelDirectory model;
    private final QuantizationConfig source;
    private final QuantizationConfig target;
    /** Packed modules, by the tensor of their codes. */
    private final Map<String, String> modules = new LinkedHashMap<>();
    /** All tensors of packed modules. */
    private final Set<String> parts = new HashSet<>();
    private double scaleChange;
    private double biasChange;

    /**
     * What was written.
     *
     * @param linears packed ones
     * @param scaleChange the most by which a scale changed when it was rounded to float16, relative to it; 0 where none changed
     * @param biasChange the most by which a bias differs from scale times zero point, in steps; 0 between formats without biases
     */
    public record Summary(CheckpointFormat from, CheckpointFormat to, int linears, double scaleChange,
            double biasChange) {}

    private FormatExport(ModelDirectory model, CheckpointFormat format, List<String> plainLinears) {
        this.model = model;
        this.source = model.quantization().orElseThrow(() -> new UserError(Code.UNSUPPORTED_MODEL, model.path()
                + ": expected a quantized checkpoint, found a plain model; use quantize --format " + format));
        for (TensorView view : model.tensors().values()) {
            source.format().module(view).ifPresent(module -> modules.put(view.name(), module));
        }
        for (String module : modules.values()) {
            source.format().packing().suffixes().forEach(suffix -> parts.add(module + suffix));
        }
        this.target = target(format).withPlain(plainLinears);
    }

    /**
     * Writes the directory, reads it back and compares it with the source. Throws UserError UNSUPPORTED_MODEL where the format
     * cannot hold the codes, OUTPUT when it cannot be written.
     *
     * @param plain modules with a matrix that is not quantized
     * @param plainLinears patterns of those of them that are linears of a block
     * @param provenance for config.json
     */
    public static Summary write(ModelDirectory model, CheckpointFormat format, List<String> plain,
            List<String> plainLinears, QuantizationConfig.Provenance provenance, Path output, boolean overwrite) {
        FormatExport export = new FormatExport(model, format, plainLinears);
        try (CheckpointWriter writer = new CheckpointWriter(output, export.specs(),
                CheckpointWriter.DEFAULT_SHARD_BYTES,
                overwrite, format.framework())) {
            export.writeTensors(writer);
            export.writeConfig(writer, plain, provenance);
            writer.finishTensors();
            export.verify(writer.workDirectory());
            writer.finish();
        }
        return new Summary(export.source.format(), format, export.modules.size(), export.scaleChange,
                export.biasChange);
    }

    /** The same grids in the format; where it refuses them, as they are once what the config allows and nothing uses is left out. */
    private QuantizationConfig target(CheckpointFormat format) {
        try {
            return named(source.in(format));
        } catch (UserError asTheConfigSays) {
            try {
                return named(new QuantizationConfig(source.bits(), source.groupSize(),
                        source.symmetric() || holds(PackedLinear::hasSymmetricZeros),
                        source.descAct() && !holds(PackedLinear::hasNeighboursInGroups), format, modules(),
                        List.of()));
            } catch (UserError asItIs) {
                throw new UserError(Code.UNSUPPORTED_MODEL, model.path() + " cannot go over code for code: "
                        + asItIs.getMessage(), asItIs);
            }
        }
    }

    private QuantizationConfig named(QuantizationConfig config) {
        config.requireNamed(modules.values());
        return config;
    }

    /** Symmetric where all that the pattern matches are. */
    private List<ModuleGrid> modules() {
        return source.modules().stream().map(grid -> new ModuleGrid(grid.pattern(), grid.bits(), grid.groupSize(),
                grid.symmetric() || modules.values().stream().filter(grid::matches)
                        .allMatch(module -> packed(module).hasSymmetricZeros())))
                .toList();
    }

    private boolean holds(Predicate<PackedLinear> property) {
        return modules.values().stream().allMatch(module -> property.test(packed(module)));
    }

    private PackedLinear packed(String module) {
        return model.packed(module).orElseThrow();
    }

    /** In the order of the source's files, so that reading is one pass. */
    private List<TensorSpec> specs() {
        List<TensorSpec> specs = new ArrayList<>();
        model.tensors().forEach((name, view) -> {
            String module = modules.get(name);
            if (module != null) {
                stored(module).forEach(tensor -> specs.add(tensor.spec()));
            } else if (!parts.contains(name)) {
                specs.add(new TensorSpec(name, view.dtype(), view.shape()));
            }
        });
        return specs;
    }

    private List<StoredTensor> stored(String module) {
        PackedLayout layout = source.layout(module, model.tensors());
        return target.tensors(module, layout.inputs(), layout.outputs());
    }

    private void writeTensors(CheckpointWriter writer) {
        model.tensors().forEach((name, view) -> {
            String module = modules.get(name);
            if (module != null) {
                writeLinear(writer, module, view);
            } else if (!parts.contains(name)) {
                view.reading(() -> writer.write(name, view.data()));
            }
        });
    }

    private void writeLinear(CheckpointWriter writer, String module, TensorView codes) {
        PackedLinear linear = packed(module).withZeroOffset(target.format().packing().zeroOffset());
        for (StoredTensor tensor : stored(module)) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment bytes = arena.allocate(tensor.spec().bytes(), Long.BYTES);
                codes.reading(() -> target.format().packing().encode(tensor, linear, bytes));
                writer.write(tensor.spec().name(), bytes);
            }
        }
        scaleChange = Math.max(scaleChange, source.scaleChange(module, model.tensors()));
        biasChange = Math.max(biasChange, source.biasChange(module, model.tensors()));
    }

    private void writeConfig(CheckpointWriter writer, List<String> plain, QuantizationConfig.Provenance provenance) {
        ObjectNode block = target.toJson(provenance, modules.values(), plain);
        if (target.format().copiesConfig()) {
            modules.values().stream().findFirst().flatMap(QuantizationConfig::blocksOf)
                    .ifPresent(blocks -> block.put("block_name_to_quantize", blocks));
            writer.writeJson("quantize_config.json", block);
        }
        ObjectNode config = (ObjectNode) model.config().json().deepCopy();
        target.format().put(block, config);
        writer.writeJson("config.json", config);
        model.companions().forEach(writer::copy);
    }

    private void verify(Path written) {
        try (ModelDirectory found = ModelDirectory.open(written)) {
            model.tensors().forEach((name, view) -> {
                String module = modules.get(name);
                boolean same = module != null
                        ? same(packed(module), found.packed(module))
                        : parts.contains(name) || view.data().mismatch(found.tensor(name).data()) < 0;
                if (!same) {
                    throw OutputFiles.damaged(written, name);
                }
                if (module != null) {
                    biasChange = Math.max(biasChange, target.biasChange(module, found.tensors()));
                }
            });
        }
    }

    private static boolean same(PackedLinear expected, Optional<PackedLinear> found) {
        if (found.isEmpty()) {
            return false;
        }
        PackedLinear one = expected.withZeroOffset(0);
        PackedLinear other = found.get().withZeroOffset(0);
        for (PackedPart part : PackedPart.values()) {
            if (one.part(part).mismatch(other.part(part)) >= 0
                    && (part != PackedPart.ZEROS || !one.hasZerosOf(other))) {
                return false;
            }
        }
        return true;
    }
}
