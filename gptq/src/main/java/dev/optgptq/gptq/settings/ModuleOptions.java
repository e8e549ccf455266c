package dev.optgptq.gptq.settings;

import org.jspecify.annotations.Nullable;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.allocate.Budget;
import dev.optgptq.gptq.recipe.Recipe;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/** Settings for some modules. What they come to in a model counts for a run's identity, not how it was said. */
final class ModuleOptions {

    static final SettingSpec<Repeated> OVERRIDE = SettingSpec
            .of(SettingGroup.MODULES, "--override", "PATTERN=SETTINGS", Repeated.class)
            .help("Another grid for the linears whose whole name matches the regular expression, such as "
                    + "'.*\\.down_proj=bits:8,group:64,sym:true'. Repeatable. What runtimes fuse keeps in step: q, k and v; gate "
                    + "and up; all experts of a layer.")
            .byDefault("", given -> Repeated.NONE)
            .where(run -> !run.modules().overrides().values().isEmpty())
            .value(run -> run.modules().overrides());

    static final SettingSpec<Repeated> SKIP = SettingSpec
            .of(SettingGroup.MODULES, "--skip", "PATTERN", Repeated.class)
            .help("Linears whose whole name matches stay as they are. Repeatable.")
            .byDefault("", given -> Repeated.NONE)
            .where(run -> !run.modules().skips().values().isEmpty())
            .value(run -> run.modules().skips());

    static final SettingSpec<Path> RECIPE = SettingSpec.of(SettingGroup.MODULES, "--recipe", "FILE", Path.class)
            .help("The same in a file, YAML or JSON: under override patterns with their settings, under skip a list of "
                    + "patterns.")
            .byDefault("none", given -> null)
            .where(run -> run.modules().file() != null)
            .value(run -> Objects.<Object>requireNonNullElse(run.modules().file(), SettingsTable.NONE));

    static final SettingSpec<Double> AVERAGE_BITS = SettingSpec
            .of(SettingGroup.MODULES, "--average-bits", "X", Double.class)
            .help("Choose each linear's bits, among 2, 3, 4 and 8, so that a weight takes X on average with its share of scales and "
                    + "zero points, and the loss rises least. Takes a backward pass, and solving once for each width. In place of "
                    + "--bits; bits of --override stay.")
            .byDefault("none", given -> null)
            .allows("more than 0 and at most 16", bits -> bits > 0 && bits <= 16)
            .readBy(CalibratorKind.GPTQ, CalibratorKind.GRADIENT)
            .where(run -> run.modules().budget() instanceof Budget.AverageBits)
            .decidesBits()
            .value(run -> ModuleOptions.budget(run.modules().budget()));

    static final SettingSpec<String> TARGET_SIZE = SettingSpec
            .of(SettingGroup.MODULES, "--target-size", "SIZE", String.class)
            .help("The same for a checkpoint of at most that size, such as 4.2GB (10^9 bytes) or 900MiB.")
            .byDefault("none", given -> null)
            .readBy(CalibratorKind.GPTQ, CalibratorKind.GRADIENT)
            .where(run -> run.modules().budget() instanceof Budget.TargetSize)
            .decidesBits()
            .value(run -> ModuleOptions.budget(run.modules().budget()));

    static final List<SettingSpec<?>> ALL = List.of(OVERRIDE, SKIP, RECIPE, AVERAGE_BITS, TARGET_SIZE);

    private ModuleOptions() {}

    static ModuleSettings of(GivenSettings given) {
        Repeated overrides = Objects.requireNonNull(given.find(OVERRIDE));
        Repeated skips = Objects.requireNonNull(given.find(SKIP));
        Path file = given.find(RECIPE);
        Recipe recipe = Recipe.of(overrides.values(), skips.values());
        Budget budget = Budget.of(given.find(AVERAGE_BITS), given.find(TARGET_SIZE));
        if (budget != null) {
            requireChoice(budget, given);
        }
        return new ModuleSettings(overrides, skips, file, file == null ? recipe : recipe.and(Recipe.read(file)),
                budget);
    }

    private static void requireChoice(Budget budget, GivenSettings given) {
        SettingChecks.require(!given.has(SettingsTable.BITS), "--bits", given.get(SettingsTable.BITS),
                "nothing beside " + budget.words()
                        + ", which chooses them; --override gives some linears bits of their own");
        CheckpointFormat format = given.get(SettingsTable.FORMAT);
        SettingChecks.require(format.packing().holdsModules() && format != CheckpointFormat.SLIMQUANT, budget.words(),
                "--format " + format,
                "a format that holds different bits: gptq, gptq_v2, compressed-tensors or mlx");
    }

    /** The part after the option's name. */
    private static String budget(@Nullable Budget budget) {
        return switch (budget) {
            case null -> SettingsTable.NONE;
            case Budget.AverageBits average -> Double.toString(average.bits());
            case Budget.TargetSize target -> target.text();
        };
    }
}
