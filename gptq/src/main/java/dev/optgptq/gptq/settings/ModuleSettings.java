package dev.optgptq.gptq.settings;

import dev.optgptq.gptq.recipe.Recipe;

/**
 * Settings for some modules.
 *
 * @param overrides as they were given
 * @param skips likewise
 * @param recipe all rules
 */
public record ModuleSettings(Repeated overrides, Repeated skips, Recipe recipe) {

    /** All modules alike. */
    public static final ModuleSettings NONE = new ModuleSettings(Repeated.NONE, Repeated.NONE, Recipe.NONE);
}
