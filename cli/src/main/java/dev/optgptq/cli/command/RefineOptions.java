package dev.optgptq.cli.command;

import dev.optgptq.calibrate.gradient.Labels;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.SampledLabels;
import dev.optgptq.gptq.refine.Refinement;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What gradient calibration tries beyond GPTQ. */
final class RefineOptions {

    /** What the loss asks of the model where tokens are weighed by its gradient. */
    enum Fisher {
        /** The token that follows in the text. */
        EMPIRICAL,
        /** A token drawn from what the model predicts. */
        SAMPLED;

        /** As the command line writes it. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    @Option(names = "--tune", paramLabel = "STEPS", description = {
            "Then learn rounding and scales, so many steps in each block, and scales together in the whole model. 100 wins back much "
                    + "of what is left, in some twenty times the time of gptq. Costs nothing at inference. Default: 0"})
    int tuneSteps;

    @Option(names = "--tune-norms", negatable = true, fallbackValue = "true", description = {
            "With --tune, learn the weights of the norms, and their biases, together with the scales of the whole model. "
                    + "They are stored in the dtype that they have; without it they stay as they are. Default: "
                    + (Refinement.TUNES_NORMS ? "--tune-norms" : "--no-tune-norms")})
    @Nullable
    Boolean tuneNorms;

    @Option(names = "--weigh-tokens", negatable = true, defaultValue = "true", fallbackValue = "true", description = {
            "Weigh calibration tokens by the loss's squared gradient, from a pass back through the model that takes about as long "
                    + "as gptq. Default: --weigh-tokens"})
    boolean weighTokens = true;

    @Option(names = "--fisher", paramLabel = "LABELS", description = {
            "What that loss asks for. empirical: the next token of the text. sampled: one drawn from the model's own predictions. "
                    + "Default: empirical"})
    Fisher fisher = Fisher.EMPIRICAL;

    @Option(names = "--propagate-error", negatable = true, defaultValue = "true", fallbackValue = "true", description = {
            "Let each block make up for the errors of those before it. Default: --propagate-error"})
    boolean propagateError = true;

    void check() {
        Checks.atLeast(0, "--tune", tuneSteps);
        Checks.require(tuneSteps > 0 || !Boolean.TRUE.equals(tuneNorms), "--tune-norms", "--tune 0",
                "steps to learn in, such as --tune 100");
    }

    Refinement refinement(long seed) {
        Labels labels = switch (fisher) {
            case EMPIRICAL -> new NextToken();
            case SAMPLED -> new SampledLabels(seed);
        };
        return new Refinement(weighTokens, labels, propagateError, tuneSteps, seed)
                .tuningNorms(tuneNorms == null ? Refinement.TUNES_NORMS : tuneNorms);
    }
}
