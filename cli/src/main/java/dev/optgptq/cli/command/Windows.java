package dev.optgptq.cli.command;

import org.jspecify.annotations.Nullable;

/** Length of evaluation windows. */
final class Windows {

    private static final int DEFAULT = 1024;

    private Windows() {}

    /** What was asked for, or 1024, or less when the model takes less. */
    static int of(@Nullable Integer asked, int maxPositions) {
        if (asked == null) {
            return Math.min(DEFAULT, maxPositions);
        }
        Checks.require(asked >= 2 && asked <= maxPositions, "--window", asked,
                "2 to " + maxPositions + ", the positions the model was made for");
        return asked;
    }
}
