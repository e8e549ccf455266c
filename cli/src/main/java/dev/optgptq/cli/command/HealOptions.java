package dev.optgptq.cli.command;

import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.tune.WeightStudent.Scope;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Distillation from the original, after merging. */
final class HealOptions {

    private static final int LENGTH = 512;

    @Option(names = "--heal", paramLabel = "STEPS", description = {
            "Then train so many steps to predict what the original predicts. 300 wins back half of what merging lost, 1000 "
                    + "most. Default: 0"})
    private int steps;

    @Option(names = "--text", paramLabel = "FILE", description = {
            "Text to train on, the last tenth of it held out. Default: that of --calibration"})
    private @Nullable Path text;

    @Option(names = "--heal-scope", paramLabel = "WHAT", description = "all: every weight. attention: its projections "
            + "alone, a third of the memory. Default: all")
    private Scope scope = Scope.ALL;

    @Option(names = "--heal-rate", paramLabel = "X", description = "Learning rate, behind a warm-up and along half a "
            + "cosine. Default: the best of a few on held-out text, each tried for up to 40 steps")
    private @Nullable Double rate;

    @Option(names = "--weight-decay", paramLabel = "X", description = "AdamW's. Default: 0")
    private double decay;

    @Option(names = "--heal-batch", paramLabel = "N", description = "Sequences of a step. Default: 8")
    private int batch = 8;

    @Option(names = "--heal-length", paramLabel = "N", description = "Tokens in each. Default: 512, or what the model takes")
    private @Nullable Integer length;

    /** Null where none is wanted. */
    @Nullable
    Heal heal(int maxPositions, long seed) {
        Checks.atLeast(0, "--heal", steps);
        Checks.atLeast(1, "--heal-batch", batch);
        Checks.require(rate == null || (rate > 0 && rate < 1), "--heal-rate", rate, "a rate such as 5e-4");
        Checks.require(decay >= 0 && decay < 1, "--weight-decay", decay, "a share such as 0.01");
        if (length != null) {
            Checks.require(length >= 2 && length <= maxPositions, "--heal-length", length,
                    "from 2 to the " + maxPositions + " positions of the model");
        }
        Checks.require(steps > 0 || text == null, "--text", text, "--heal STEPS beside it, which is what it is for");
        if (steps == 0) {
            return null;
        }
        return new Heal(steps, text, scope, rate, decay, batch,
                length == null ? Math.min(LENGTH, maxPositions) : length, seed);
    }
}
