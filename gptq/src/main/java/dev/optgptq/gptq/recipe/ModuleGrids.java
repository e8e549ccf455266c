package dev.optgptq.gptq.recipe;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.solve.SolveSettings;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The grid of every linear of a model, or that it is not quantized.
 *
 * @param common of all linears that are not named otherwise
 * @param own by module, of those whose grid differs from it
 * @param skipped modules that stay as they are
 * @param rules the own ones as configs name them
 * @param plain the skipped ones likewise
 */
public record ModuleGrids(PackedGrid common, Map<String, PackedGrid> own, Set<String> skipped,
        List<ModuleGrid> rules, List<String> plain) {

    /** One grid for all. */
    public static ModuleGrids uniform(PackedGrid grid) {
        return new ModuleGrids(grid, Map.of(), Set.of(), List.of(), List.of());
    }

    /**
     * Own grids and skips, by module.
     *
     * @param byActivity whether groups are by activity where there is more than one
     */
    public static ModuleGrids of(ModelSpec model, PackedGrid common, Map<String, PackedGrid> own, Set<String> skipped,
            boolean byActivity) {
        boolean irregular = byActivity
                && Stream.concat(Stream.of(common), own.values().stream())
                        .anyMatch(grid -> grid.groupSize() != QuantizationConfig.ONE_GROUP);
        Map<String, PackedGrid> others = own.entrySet().stream()
                .filter(entry -> !same(entry.getValue(), common) && !skipped.contains(entry.getKey()))
                .collect(Collectors.toMap(Map.Entry::getKey, entry -> ordered(entry.getValue(), irregular)));
        List<ModuleGrid> rules = new LinkedHashSet<>(model.blockSpecs().stream().flatMap(b -> b.linears().stream())
                .map(linear -> others.get(linear.module())).filter(grid -> grid != null).toList()).stream()
                .flatMap(grid -> ModulePatterns.of(model, linear -> grid.equals(others.get(linear.module()))).stream()
                        .map(pattern -> new ModuleGrid(pattern, grid.bits(), grid.groupSize(), grid.symmetric())))
                .toList();
        return new ModuleGrids(ordered(common, irregular), others, Set.copyOf(skipped), rules,
                ModulePatterns.of(model, linear -> skipped.contains(linear.module())));
    }

    private static boolean same(PackedGrid grid, PackedGrid common) {
        return ordered(grid, false).equals(ordered(common, false));
    }

    private static PackedGrid ordered(PackedGrid grid, boolean byActivity) {
        return new PackedGrid(grid.bits(), grid.groupSize(), grid.symmetric(), byActivity);
    }

    public boolean isUniform() {
        return own.isEmpty() && skipped.isEmpty();
    }

    public boolean quantizes(LinearSpec linear) {
        return !skipped.contains(linear.module());
    }

    /** Those that are quantized, in their order. */
    public List<LinearSpec> quantized(List<LinearSpec> linears) {
        return linears.stream().filter(this::quantizes).toList();
    }

    /** Sites of the quantized linears of a block, in forward order. */
    public SequencedSet<InputSite> sites(BlockSpec block) {
        return block.linears().stream().filter(this::quantizes).map(LinearSpec::site)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** Of a linear that is quantized. */
    public PackedGrid of(LinearSpec linear) {
        return own.getOrDefault(linear.module(), common);
    }

    /** The solver's settings for a linear, or for all quantized ones of its site. */
    public SolveSettings settings(SolveSettings run, LinearSpec linear) {
        return settings(run, of(linear));
    }

    /** The solver's settings for a grid. */
    public static SolveSettings settings(SolveSettings run, PackedGrid grid) {
        return run.on(grid.bits(), grid.symmetric(),
                grid.groupSize() == QuantizationConfig.ONE_GROUP ? Integer.MAX_VALUE : grid.groupSize());
    }

    /** As a checkpoint says it. Throws UserError BAD_SETTING where the format cannot hold it. */
    public QuantizationConfig config(CheckpointFormat format) {
        return new QuantizationConfig(common.bits(), common.groupSize(), common.symmetric(), common.descAct(), format,
                rules, plain);
    }

    /** Inputs per scale in the finest groups; -1 where all have one. */
    public int smallestGroup() {
        return Stream.concat(Stream.of(common), own.values().stream()).mapToInt(PackedGrid::groupSize)
                .filter(size -> size != QuantizationConfig.ONE_GROUP).min().orElse(QuantizationConfig.ONE_GROUP);
    }

    /** What differs, in one line that is the same for the same grids. */
    public String words() {
        return isUniform()
                ? "none"
                : Stream.concat(plain.stream().map(pattern -> pattern + " skipped"),
                        rules.stream().map(rule -> rule.pattern() + " "
                                + new PackedGrid(rule.bits(), rule.groupSize(), rule.symmetric(), false)))
                        .collect(Collectors.joining("; "));
    }
}
