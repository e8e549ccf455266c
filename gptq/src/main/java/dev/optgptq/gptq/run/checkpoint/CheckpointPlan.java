package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.commons.math3.util.ArithmeticUtils;

/**
 * What will be written: the source's tensors in their order, each quantized weight replaced by its packed tensors.
 *
 * @param specs everything, in file order
 * @param kept the source tensors that are copied as they are, unless something else is learned in their place
 * @param outside those of them that belong to no block, which no block can replace: embedding, final norm, head
 * @param linears every quantized linear, by module
 */
public record CheckpointPlan(List<TensorSpec> specs, List<TensorView> kept, List<TensorView> outside,
        Map<String, LinearSpec> linears) {

    private static final List<Integer> USUAL_GROUPS = List.of(128, 64, 32);

    /** Throws UserError when a linear cannot be packed, or the group size does not divide its inputs. */
    public static CheckpointPlan of(ModelDirectory source, ModelSpec model, int bits, int groupSize) {
        requireGroups(model, groupSize);
        Map<String, List<LinearSpec>> byWeight = new LinkedHashMap<>();
        Map<String, LinearSpec> linears = new LinkedHashMap<>();
        for (int block = 0; block < model.blocks(); block++) {
            for (LinearSpec linear : model.linears(block)) {
                List<String> stored = storedAs(source, linear);
                byWeight.computeIfAbsent(stored.getFirst(), tensor -> new ArrayList<>()).add(linear);
                stored.stream().skip(1).forEach(scales -> byWeight.putIfAbsent(scales, new ArrayList<>()));
                linears.put(linear.module(), linear);
            }
        }
        List<TensorSpec> specs = new ArrayList<>();
        List<TensorView> kept = new ArrayList<>();
        source.tensors().forEach((name, view) -> {
            List<LinearSpec> replaced = byWeight.get(name);
            if (replaced == null) {
                specs.add(new TensorSpec(name, view.dtype(), view.shape()));
                kept.add(view);
            } else {
                replaced.forEach(linear -> specs.addAll(
                        new PackedLayout(linear.module(), bits, groupSize, linear.inputs(), linear.outputs())
                                .tensors()));
            }
        });
        List<String> blocks = model.blockSpecs().stream().map(BlockSpec::prefix).toList();
        List<TensorView> outside = kept.stream().filter(view -> blocks.stream().noneMatch(view.name()::startsWith))
                .toList();
        return new CheckpointPlan(specs, kept, outside, linears);
    }

    /** The tensors that a linear's weight takes the place of, the elements first. */
    private static List<String> storedAs(ModelDirectory source, LinearSpec linear) {
        return source.scaled(linear.weightTensor())
                .map(scaled -> scaled.parts().stream().map(TensorView::name).toList())
                .orElse(List.of(linear.weightTensor()));
    }

    /** Names the first linear that the groups do not divide, and a size that divides all. */
    private static void requireGroups(ModelSpec model, int groupSize) {
        if (groupSize == QuantizationConfig.ONE_GROUP) {
            return;
        }
        int common = 0;
        List<LinearSpec> linears = model.blockSpecs().stream().flatMap(block -> block.linears().stream()).toList();
        for (LinearSpec linear : linears) {
            common = ArithmeticUtils.gcd(common, linear.inputs());
        }
        for (LinearSpec linear : linears) {
            if (groupSize < 1 || linear.inputs() % groupSize != 0) {
                throw new UserError(Code.BAD_SETTING, linear.module() + ": expected a group size that divides its "
                        + linear.inputs() + " inputs, found " + groupSize + "; use " + groupOf(common)
                        + "-1 for one group per output");
            }
        }
    }

    /** The largest usual group size that divides, with an "or" behind it; nothing where none does. */
    private static String groupOf(int inputs) {
        return USUAL_GROUPS.stream().filter(size -> inputs % size == 0).findFirst()
                .map(size -> size + ", which divides all layers' inputs, or ").orElse("");
    }

    /** The packed tensors of a block's linears, in file order. */
    public List<TensorSpec> packed(List<LinearSpec> block) {
        Set<String> names = new HashSet<>();
        block.forEach(linear -> PackedLayout.SUFFIXES.forEach(suffix -> names.add(linear.module() + suffix)));
        return specs.stream().filter(spec -> names.contains(spec.name())).toList();
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
