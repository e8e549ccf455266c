package dev.optgptq.cli.command;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What a quantize run measures itself on. */
final class EvaluationOptions {

    private static final String NONE = "none";

    @Option(names = "--eval", paramLabel = "FILE", description = {
            "Text to measure perplexity on, before and after; none to skip that. "
                    + "Default: held-out WikiText-2, bundled"})
    @Nullable
    Path file;

    @Option(names = "--window", paramLabel = "N", description = "Tokens per evaluation window. Default: 1024, or what the model takes")
    @Nullable
    Integer window;

    void check() {
        if (window != null) {
            Checks.atLeast(2, "--window", window);
        }
    }

    boolean wanted() {
        return file == null || !file.toString().equals(NONE);
    }

    /** The text; null for the bundled one, and when none is wanted. */
    @Nullable
    Path text() {
        return wanted() ? file : null;
    }

    int window(int maxPositions) {
        return Windows.of(window, maxPositions);
    }
}
