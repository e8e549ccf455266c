package dev.optgptq.gptq.report;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.tune.HeldOutLosses;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Gain and cost of a refinement's steps, for the report. */
public final class Ablations {

    private static final String OF_BLOCKS = "error of the block's output, share of it";
    private static final String OF_MODELS = "KL divergence, nats per token";

    /** The phases that plain GPTQ has as well. */
    private static final Set<String> PLAIN = Set.of("open", "tokenize", "load", "forward", "hessian", "solve", "write",
            "verify");

    /** Phases that only refinement needs, by the first step that needs them, in the order in which steps are tried. */
    private static final Map<String, List<String>> NEEDS = Map.of("gradients", List.of("token weights"),
            "hessian weighted", List.of("token weights"), "cross moments", List.of("error propagation in attention"),
            "forward original", List.of("error propagation in attention", "learned rounding"));

    private Ablations() {}

    /**
     * Null where there were no steps.
     *
     * @param phases of the whole run
     * @param losses null where they are not known
     */
    public static @Nullable Ablation of(List<StepOutcome> outcomes, @Nullable TokenSequences calibration,
            List<RunReport.Phase> phases, @Nullable HeldOutLosses losses) {
        if (outcomes.isEmpty() || calibration == null) {
            return null;
        }
        int heldOut = Refinement.heldOut(calibration.count());
        return Ablation.of("the last " + heldOut + " of " + calibration.count() + " calibration sequences",
                (long) heldOut * calibration.length(), OF_MODELS, models(outcomes, losses), times(outcomes, phases),
                outcomes.stream().map(Ablations::step).toList());
    }

    /** A warning if the whole model is worse than plain GPTQ's, although each of its blocks is no worse. */
    public static Optional<String> warning(@Nullable HeldOutLosses losses) {
        if (losses == null || !Boolean.FALSE.equals(losses.beatsPlain())) {
            return Optional.empty();
        }
        return Optional.of(String.format(Locale.ROOT,
                "on the held-out sequences the refined model is further from the original than plain GPTQ's: KL divergence "
                        + "%.4g nats per token, against %.4g; expected less, since each block alone is no worse. More --samples "
                        + "validate better; --calibrator gptq is plain GPTQ",
                losses.divergence(), losses.plainDivergence()));
    }

    private static Ablation.Models models(List<StepOutcome> outcomes, @Nullable HeldOutLosses losses) {
        Map<String, Double> after = outcomes.stream().filter(outcome -> outcome.block() < 0)
                .collect(Collectors.toMap(StepOutcome::step,
                        outcome -> outcome.kept() ? outcome.after() : outcome.before()));
        boolean changed = outcomes.stream().anyMatch(outcome -> outcome.block() < 0 && outcome.kept());
        Double learned = outcomes.getLast().block() < 0 ? after.get(outcomes.getLast().step()) : null;
        if (losses == null) {
            return new Ablation.Models(0.0, null, learned, null, null, after);
        }
        return new Ablation.Models(0.0, Double.isNaN(losses.plainDivergence()) ? null : losses.plainDivergence(),
                learned == null ? (Double) losses.divergence() : learned, losses.originalCrossEntropy(),
                changed ? null : losses.crossEntropy(), after);
    }

    private static Ablation.Times times(List<StepOutcome> outcomes, List<RunReport.Phase> phases) {
        Set<String> tried = outcomes.stream().map(StepOutcome::step).collect(Collectors.toSet());
        double plain = 0;
        Map<String, Double> beside = new HashMap<>();
        for (RunReport.Phase phase : phases) {
            plain += PLAIN.contains(phase.name()) ? phase.seconds() : 0;
            NEEDS.getOrDefault(phase.name(), List.of()).stream().filter(tried::contains).findFirst()
                    .ifPresent(step -> beside.merge(step, phase.seconds(), Double::sum));
        }
        return new Ablation.Times(plain, beside);
    }

    private static Ablation.Step step(StepOutcome outcome) {
        boolean whole = outcome.block() < 0;
        return new Ablation.Step(outcome.step(), whole ? null : outcome.block(), whole ? OF_MODELS : OF_BLOCKS,
                outcome.before(), outcome.after(), outcome.kept(), outcome.seconds(),
                outcome.note().isEmpty() ? null : outcome.note());
    }
}
