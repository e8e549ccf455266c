package dev.optgptq.gptq.settings;

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

    static final List<SettingSpec<?>> ALL = List.of(OVERRIDE, SKIP, RECIPE);

    private ModuleOptions() {}

    static ModuleSettings of(GivenSettings given) {
        Repeated overrides = Objects.requireNonNull(given.find(OVERRIDE));
        Repeated skips = Objects.requireNonNull(given.find(SKIP));
        Path file = given.find(RECIPE);
        Recipe recipe = Recipe.of(overrides.values(), skips.values());
        return new ModuleSettings(overrides, skips, file, file == null ? recipe : recipe.and(Recipe.read(file)));
    }
}
