package dev.optgptq.cli.command;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Ranges of numeric options. What depends on the model is checked where the model is known. */
final class Checks {

    private Checks() {}

    /** @param expected the rule in plain words, and what to do */
    static void require(boolean holds, String option, @Nullable Object found, String expected) {
        if (!holds) {
            throw new UserError(Code.BAD_SETTING, option + ": expected " + expected + ", found " + found);
        }
    }

    static void oneOf(List<Integer> allowed, String option, int found) {
        String words = String.join(", ", allowed.stream().map(String::valueOf).toList());
        require(allowed.contains(found), option, found, "one of " + words);
    }

    static void atLeast(int least, String option, int found) {
        require(found >= least, option, found, "at least " + least);
    }
}
