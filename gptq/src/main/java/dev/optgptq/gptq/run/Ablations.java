package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.Ablation;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** What a refinement's steps bought, for the report. */
final class Ablations {

    private static final String OF_BLOCKS = "error of the block's output, share of it";
    private static final String OF_MODELS = "KL divergence, nats per token";

    private Ablations() {}

    /** Null where there were no steps. */
    static @Nullable Ablation of(List<StepOutcome> outcomes, @Nullable TokenSequences calibration) {
        if (outcomes.isEmpty() || calibration == null) {
            return null;
        }
        int heldOut = Refinement.heldOut(calibration.count());
        Map<String, Double> after = outcomes.stream().filter(outcome -> outcome.block() < 0)
                .collect(Collectors.toMap(StepOutcome::step,
                        outcome -> outcome.kept() ? outcome.after() : outcome.before()));
        return Ablation.of("the last " + heldOut + " of " + calibration.count() + " calibration sequences",
                (long) heldOut * calibration.length(), OF_MODELS, null, null, 0,
                outcomes.stream().map(Ablations::step).toList(), after);
    }

    private static Ablation.Step step(StepOutcome outcome) {
        boolean whole = outcome.block() < 0;
        return new Ablation.Step(outcome.step(), whole ? null : outcome.block(), whole ? OF_MODELS : OF_BLOCKS,
                outcome.before(), outcome.after(), outcome.kept(), outcome.seconds(),
                outcome.note().isEmpty() ? null : outcome.note());
    }
}
