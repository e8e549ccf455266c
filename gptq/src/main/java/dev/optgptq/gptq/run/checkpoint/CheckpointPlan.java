package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.packed.StoredTensor;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.commons.math3.util.ArithmeticUtils;

/**
 * What will be written: the source's tensors in their order, each quantized weight replaced by its packed tensors.
 *
 * @param quantization as the checkpoint will say it
 * @param specs everything, in file order
 * @param recorded the same with linears in GPTQ layout, as blocks are recorded
 * @param kept the source tensors that are copied as they are, unless something else is learned in their place
 * @param outside those of them that belong to no block, which no block can replace: embedding, final norm, head
 * @param stored what follows from a recorded tensor of a linear, by its name
 * @param linears every quantized linear, by module
 * @param plainModules with a matrix that stays as it is, as linears do: the head, routers
 */
public record CheckpointPlan(QuantizationConfig quantization, List<TensorSpec> specs, List<TensorSpec> recorded,
        List<TensorView> kept,
        List<TensorView> outside, Map<String, List<StoredTensor>> stored, Map<String, LinearSpec> linears,
        List<String> plainModules) {

    private static final List<Integer> USUAL_GROUPS = List.of(128, 64, 32);

    /** Throws UserError when a linear cannot be packed, or the group size does not divide its inputs. */
    public static CheckpointPlan of(ModelDirectory source, ModelSpec model, ModuleGrids grids,
            CheckpointFormat format) {
        requireGroups(model, grids);
        QuantizationConfig quantization = grids.config(format);
        Map<String, LinearSpec> linears = linears(source, model, grids);
        quantization.requireNamed(linears.keySet());
        Map<String, List<LinearSpec>> byWeight = byWeight(source, linears.values());
        QuantizationConfig record = quantization.inGptqLayout();
        List<TensorSpec> specs = new ArrayList<>();
        List<TensorSpec> recorded = new ArrayList<>();
        List<TensorView> kept = new ArrayList<>();
        Map<String, List<StoredTensor>> stored = new HashMap<>();
        source.tensors().forEach((name, view) -> {
            List<LinearSpec> replaced = byWeight.get(name);
            if (replaced == null) {
                TensorSpec spec = new TensorSpec(name, view.dtype(), view.shape());
                specs.add(spec);
                recorded.add(spec);
                kept.add(view);
                return;
            }
            for (LinearSpec linear : replaced) {
                record.tensors(linear.module(), linear.inputs(), linear.outputs())
                        .forEach(tensor -> recorded.add(tensor.spec()));
                for (StoredTensor tensor : quantization.tensors(linear.module(), linear.inputs(), linear.outputs())) {
                    specs.add(tensor.spec());
                    stored.computeIfAbsent(linear.module() + tensor.part().suffix(), part -> new ArrayList<>())
                            .add(tensor);
                }
            }
        });
        List<String> blocks = model.blockSpecs().stream().map(BlockSpec::prefix).toList();
        List<TensorView> outside = kept.stream().filter(view -> blocks.stream().noneMatch(view.name()::startsWith))
                .toList();
        return new CheckpointPlan(quantization, specs, recorded, kept, outside, stored, linears,
                model.plainModules(kept));
    }

    /** Those that are quantized, by module. */
    private static Map<String, LinearSpec> linears(ModelDirectory source, ModelSpec model, ModuleGrids grids) {
        Map<String, LinearSpec> linears = new LinkedHashMap<>();
        for (int block = 0; block < model.blocks(); block++) {
            requirePlain(source, model.linears(block), grids);
            grids.quantized(model.linears(block)).forEach(linear -> linears.put(linear.module(), linear));
        }
        return linears;
    }

    /** The linears that a source tensor holds; none for the scales of one, which go with it. */
    private static Map<String, List<LinearSpec>> byWeight(ModelDirectory source, Collection<LinearSpec> linears) {
        Map<String, List<LinearSpec>> byWeight = new LinkedHashMap<>();
        for (LinearSpec linear : linears) {
            List<String> stored = storedAs(source, linear);
            byWeight.computeIfAbsent(stored.getFirst(), tensor -> new ArrayList<>()).add(linear);
            stored.stream().skip(1).forEach(scales -> byWeight.putIfAbsent(scales, new ArrayList<>()));
        }
        return byWeight;
    }

    /** The tensors that a linear's weight takes the place of, the elements first. */
    private static List<String> storedAs(ModelDirectory source, LinearSpec linear) {
        return source.scaled(linear.weightTensor())
                .map(scaled -> scaled.parts().stream().map(TensorView::name).toList())
                .orElse(List.of(linear.weightTensor()));
    }

    /** What is skipped stays as it is stored, and a checkpoint has one kind of quantization. */
    private static void requirePlain(ModelDirectory source, List<LinearSpec> linears, ModuleGrids grids) {
        for (LinearSpec linear : linears) {
            if (!grids.quantizes(linear) && source.scaled(linear.weightTensor()).isPresent()) {
                throw new UserError(Code.BAD_SETTING, linear.module()
                        + ": expected weights stored as floats where they are skipped, found "
                        + source.scaledFormat().orElseThrow().label()
                        + ", which a checkpoint cannot hold beside others; give them 8 bits instead, --override '"
                        + linear.module() + "=bits:8'");
            }
        }
    }

    /** Names the first linear that the groups do not divide, and a size that divides all. */
    private static void requireGroups(ModelSpec model, ModuleGrids grids) {
        int common = 0;
        List<LinearSpec> linears = model.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .filter(grids::quantizes).toList();
        if (linears.isEmpty()) {
            throw new UserError(Code.BAD_SETTING,
                    "--skip: expected linears that are quantized, found that all are skipped; let it match less");
        }
        for (LinearSpec linear : linears) {
            common = ArithmeticUtils.gcd(common, linear.inputs());
        }
        for (LinearSpec linear : linears) {
            int groupSize = grids.of(linear).groupSize();
            if (groupSize != QuantizationConfig.ONE_GROUP && (groupSize < 1 || linear.inputs() % groupSize != 0)) {
                throw new UserError(Code.BAD_SETTING, linear.module() + ": expected a group size that divides its "
                        + linear.inputs() + " inputs, found " + groupSize + "; use " + groupOf(common)
                        + "-1 for one group per output");
            }
        }
    }

    /** The largest usual group size that divides, followed by "or"; empty if there is none. */
    private static String groupOf(int inputs) {
        return USUAL_GROUPS.stream().filter(size -> inputs % size == 0).findFirst()
                .map(size -> size + ", which divides all layers' inputs, or ").orElse("");
    }

    /** The tensors that are recorded of a block's linears, in file order. */
    public List<TensorSpec> packed(List<LinearSpec> block) {
        Set<String> names = new HashSet<>();
        block.forEach(linear -> Arrays.stream(PackedPart.values())
                .forEach(part -> names.add(linear.module() + part.suffix())));
        return recorded.stream().filter(spec -> names.contains(spec.name())).toList();
    }

    /** Whether a tensor is the source's. */
    boolean keeps(String name) {
        return kept.stream().anyMatch(view -> view.name().equals(name));
    }

    public long bytes() {
        return specs.stream().mapToLong(TensorSpec::bytes).sum();
    }

    public long keptBytes() {
        return kept.stream().mapToLong(view -> view.data().byteSize()).sum();
    }

    public long quantizedParameters() {
        return linears.values().stream().mapToLong(linear -> (long) linear.inputs() * linear.outputs()).sum();
    }
}
