package dev.optgptq.gptq.settings;

import dev.optgptq.gptq.allocate.Budget;
import dev.optgptq.gptq.recipe.Recipe;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Settings for some modules.
 *
 * @param overrides as they were given
 * @param skips likewise
 * @param file of more rules; null for none
 * @param recipe all rules
 * @param budget within which bits are chosen; null where all linears have those of the run, but for rules
 */
public record ModuleSettings(Repeated overrides, Repeated skips, @Nullable Path file, Recipe recipe,
        @Nullable Budget budget) {

    /** All modules alike. */
    public static final ModuleSettings NONE = new ModuleSettings(Repeated.NONE, Repeated.NONE, null,
            Recipe.NONE, null);
}
