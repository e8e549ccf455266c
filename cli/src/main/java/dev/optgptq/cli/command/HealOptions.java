package dev.optgptq.cli.command;

import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.tune.WeightStudent.Scope;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Distillation from the original, after merging. */
final class HealOptions {

    private static final int LENGTH = 512;
    /** Where positions are learned, those that no sequence reaches would stay behind. */
    private static final int LENGTH_OF_LEARNED = 1024;
    private static final int STEP_TOKENS = 4096;

    @Option(names = "--heal", paramLabel = "STEPS", description = {
            "Steps of training on the original model's predictions. 300 recover half of what merging lost, 1000 "
                    + "most. Default: 0"})
    private int steps;

    @Option(names = "--text", paramLabel = "FILE", description = {
            "Text to train on; its last tenth is held out. Default: the text of --calibration"})
    private @Nullable Path text;

    @Option(names = "--heal-scope", paramLabel = "WHAT", description = "all: every weight. attention: only its "
            + "projections, with a third of the memory. Default: all")
    private Scope scope = Scope.ALL;

    @Option(names = "--heal-rate", paramLabel = "X", description = "Peak learning rate, after a warm-up, with cosine "
            + "decay. Default: the best of a few on held-out text, each tried for up to 40 steps")
    private @Nullable Double rate;

    @Option(names = "--weight-decay", paramLabel = "X", description = "Weight decay of AdamW. Default: 0")
    private double decay;

    @Option(names = "--heal-batch", paramLabel = "N", description = "Sequences in each step. Default: those of 4,096 "
            + "tokens")
    private @Nullable Integer batch;

    @Option(names = "--heal-length", paramLabel = "N", description = "Tokens in each sequence. Default: 512, with "
            + "learned positions 1024, or the model's maximum if shorter")
    private @Nullable Integer length;

    @Option(names = "--heal-precision", paramLabel = "NAME", description = "Products while learning: float32, or half, bfloat16 on "
            + "a GPU's matrix units with the learned weights in float32. Default: auto, half where the GPU is fast with it and "
            + "the model's hidden width is 1024 or more")
    private Precision precision = Precision.AUTO;

    /**
     * Null without --heal.
     *
     * @param learnedPositions whether the result has them
     */
    @Nullable
    Heal heal(int maxPositions, boolean learnedPositions, long seed) {
        Checks.atLeast(0, "--heal", steps);
        Checks.atLeast(1, "--heal-batch", batch == null ? 1 : batch);
        Checks.require(rate == null || (rate > 0 && rate < 1), "--heal-rate", rate, "a rate such as 5e-4");
        Checks.require(decay >= 0 && decay < 1, "--weight-decay", decay, "a share such as 0.01");
        if (length != null) {
            Checks.require(length >= 2 && length <= maxPositions, "--heal-length", length,
                    "from 2 to the " + maxPositions + " positions of the model");
        }
        Checks.require(steps > 0 || text == null, "--text", text, "--heal STEPS with it, since it is the text to "
                + "heal on");
        if (steps == 0) {
            return null;
        }
        int tokens = length == null
                ? Math.min(learnedPositions ? LENGTH_OF_LEARNED : LENGTH, maxPositions)
                : length;
        return new Heal(steps, text, scope, rate, decay,
                batch == null ? Math.max(1, STEP_TOKENS / tokens) : batch, tokens, seed, precision);
    }
}
