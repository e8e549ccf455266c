package dev.optgptq.gptq.recipe;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * A rule for some modules.
 *
 * @param pattern matches the whole name of a module: "model.layers.0.mlp.down_proj"
 * @param source where it was given, for messages: "--skip '.*'" or "recipe.yaml:7"
 */
record ModuleRule(Pattern pattern, Action action, String source) {

    /** What happens to the modules. */
    sealed interface Action permits Skip, GridChange {}

    /** They stay as they are. */
    record Skip() implements Action {}

    /** Throws UserError BAD_SETTING for a pattern that is none. */
    static ModuleRule of(String pattern, Action action, String source) {
        if (pattern.isEmpty()) {
            throw new UserError(Code.BAD_SETTING, source + ": expected a pattern of module names, found none");
        }
        try {
            return new ModuleRule(Pattern.compile(pattern), action, source);
        } catch (PatternSyntaxException e) {
            throw new UserError(Code.BAD_SETTING, source + ": expected a regular expression, found '" + pattern + "': "
                    + e.getDescription() + " at character " + (e.getIndex() + 1), e);
        }
    }

    boolean matches(LinearSpec linear) {
        return pattern.matcher(linear.module()).matches();
    }

    @Override
    public String toString() {
        return source;
    }
}
