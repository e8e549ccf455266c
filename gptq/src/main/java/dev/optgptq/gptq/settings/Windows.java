package dev.optgptq.gptq.settings;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import org.jspecify.annotations.Nullable;

/** Length of evaluation windows. */
public final class Windows {

    private static final int DEFAULT = 1024;
    private static final int LEAST = 2;

    private Windows() {}

    /** The given length, or 1024, or less if the model supports less. UserError if a window has nothing to predict. */
    public static int of(@Nullable Integer asked, int maxPositions) {
        if (maxPositions < LEAST) {
            throw new UserError(Code.UNSUPPORTED_MODEL,
                    "perplexity predicts a token from those before it, and the model was "
                            + "made for " + maxPositions + " position" + (maxPositions == 1 ? "" : "s")
                            + "; expected at least " + LEAST + " (max_position_embeddings or its like in config.json)");
        }
        if (asked == null) {
            return Math.min(DEFAULT, maxPositions);
        }
        SettingChecks.require(asked >= LEAST && asked <= maxPositions, "--window", asked,
                LEAST + " to " + maxPositions + ", the positions the model was made for");
        return asked;
    }
}
