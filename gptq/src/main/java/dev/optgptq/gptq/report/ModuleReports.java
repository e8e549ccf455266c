package dev.optgptq.gptq.report;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.gptq.allocate.Allocation;
import dev.optgptq.gptq.allocate.Unit;
import dev.optgptq.gptq.recipe.ModuleGrids;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** What a report says of linears that differ from the others, and of how bits were chosen. */
public final class ModuleReports {

    private ModuleReports() {}

    /** Those that are not quantized first. */
    public static List<RunReport.OwnGrid> of(ModelSpec model, ModuleGrids grids) {
        List<RunReport.OwnGrid> own = new ArrayList<>();
        grids.plain().forEach(
                pattern -> own.add(new RunReport.OwnGrid(pattern, count(model, pattern), null, null, null)));
        for (ModuleGrid rule : grids.rules()) {
            own.add(new RunReport.OwnGrid(rule.pattern(), count(model, rule.pattern()), rule.bits(), rule.groupSize(),
                    rule.symmetric()));
        }
        return own;
    }

    private static int count(ModelSpec model, String pattern) {
        Pattern compiled = Pattern.compile(pattern);
        return (int) model.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .filter(linear -> compiled.matcher(linear.module()).lookingAt()).count();
    }

    /** Null for null. */
    public static RunReport.@Nullable ChosenBits of(@Nullable Allocation allocation) {
        if (allocation == null) {
            return null;
        }
        List<RunReport.Choice> choices = IntStream.range(0, allocation.units().size())
                .mapToObj(i -> choice(allocation.units().get(i), allocation.option(i).grid().bits())).toList();
        return new RunReport.ChosenBits(allocation.budget(), allocation.bytes(), allocation.averageBits(),
                allocation.loss(), choices);
    }

    private static RunReport.Choice choice(Unit unit, int bits) {
        List<String> linears = unit.linears().stream()
                .filter(linear -> linear.expert() == LinearSpec.NO_EXPERT
                        || linear.expert() == unit.linears().getFirst().expert())
                .map(LinearSpec::role).toList();
        return new RunReport.Choice(unit.block(), linears, bits, unit.options().stream()
                .map(option -> new RunReport.Width(option.grid().bits(), option.bytes(), option.loss())).toList());
    }
}
