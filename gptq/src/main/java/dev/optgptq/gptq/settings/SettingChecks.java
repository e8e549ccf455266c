package dev.optgptq.gptq.settings;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;

/** Values of options. What depends on the model is checked where the model is known. */
public final class SettingChecks {

    private SettingChecks() {}

    /** @param expected the rule in plain words, and what to do */
    public static void require(boolean holds, String option, Object found, String expected) {
        if (!holds) {
            throw new UserError(Code.BAD_SETTING, option + ": expected " + expected + ", found " + found);
        }
    }

    public static void atLeast(int least, String option, int found) {
        require(found >= least, option, found, "at least " + least);
    }
}
