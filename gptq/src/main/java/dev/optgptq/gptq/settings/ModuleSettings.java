package dev.optgptq.gptq.settings;

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
 */
public record ModuleSettings(Repeated overrides, Repeated skips, @Nullable Path file, Recipe recipe) {

    /** All modules alike. */
    public static final ModuleSettings NONE = new ModuleSettings(Repeated.NONE, Repeated.NONE, null,
            Recipe.NONE);
}
