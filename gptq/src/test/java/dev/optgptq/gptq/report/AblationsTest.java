package dev.optgptq.gptq.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.tune.HeldOutLosses;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What the report says of a run of 16 sequences of 8 tokens. */
class AblationsTest {

    private static final TokenSequences TEXT = new TokenSequences(new int[16 * 8], 16, 8);
    private static final HeldOutLosses BETTER = new HeldOutLosses(3.0, 3.1, 0.02, 0.05);
    private static final HeldOutLosses WORSE = new HeldOutLosses(3.0, 3.1, 0.05, 0.02);

    private static final StepOutcome WEIGHED = step("token weights", 0, 0.5, 0.4, true, 2);
    private static final StepOutcome PROPAGATED = step("error propagation in attention", 0, 0.4, 0.5, false, 3);
    private static final StepOutcome LEARNED = step("learned rounding", 0, 0.4, 0.3, true, 10);
    private static final StepOutcome TUNED = step("tuned scales", -1, 0.02, 0.01, true, 20);
    private static final StepOutcome NOT_TUNED = step("tuned scales", -1, 0.02, 0.03, false, 20);

    private static final List<RunReport.Phase> PHASES = List.of(phase("open", 1), phase("tokenize", 1),
            phase("gradients", 100), phase("load", 2), phase("forward original", 1000), phase("forward", 30),
            phase("hessian", 10), phase("hessian weighted", 200), phase("cross moments", 2000), phase("solve", 4),
            phase("solve variants", 9000), phase("validate", 9000), phase("write", 1), phase("verify", 1),
            phase("evaluate", 9000));

    @Test
    void a_run_without_steps_or_without_calibration_has_none() {
        assertNull(Ablations.of(List.of(), TEXT, PHASES, BETTER));
        assertNull(Ablations.of(List.of(WEIGHED), null, PHASES, BETTER));
    }

    @Test
    void steps_were_judged_on_the_last_eighth_of_the_calibration() {
        Ablation found = of(BETTER, WEIGHED);

        assertEquals("the last 2 of 16 calibration sequences", found.text());
        assertEquals(16, found.tokens());
    }

    @Test
    void whole_models_are_held_against_the_source_by_divergence_and_by_the_text() {
        Ablation found = of(BETTER, WEIGHED);

        assertEquals(0.0, found.unquantizedLoss());
        assertEquals(0.05, found.plainGptqLoss());
        assertEquals(0.02, found.quantizedLoss());
        assertEquals(3.0, found.unquantizedCrossEntropy());
        assertEquals(3.1, found.quantizedCrossEntropy());
    }

    @Test
    void scales_that_were_learned_behind_the_last_block_have_the_last_word() {
        Ablation found = of(BETTER, WEIGHED, TUNED);

        assertEquals(0.01, found.quantizedLoss());
        assertNull(found.quantizedCrossEntropy(), "it was measured before they were learned");
        assertEquals(0.01, found.totals().getLast().heldOutLoss());
    }

    @Test
    void scales_that_were_learned_and_left_out_change_nothing() {
        Ablation found = of(BETTER, WEIGHED, NOT_TUNED);

        assertEquals(0.02, found.quantizedLoss());
        assertEquals(3.1, found.quantizedCrossEntropy());
    }

    @Test
    void what_an_interrupted_run_did_not_follow_is_unknown() {
        assertNull(of(new HeldOutLosses(3, 3.1, 0.02, Double.NaN), WEIGHED).plainGptqLoss());
        Ablation nothing = of(null, WEIGHED);
        assertNull(nothing.plainGptqLoss());
        assertNull(nothing.quantizedLoss());
        assertNull(nothing.unquantizedCrossEntropy());
    }

    /** Plain GPTQ is 1 + 1 + 2 + 30 + 10 + 4 + 1 + 1 = 50 s of it. */
    @Test
    void a_step_costs_what_only_it_needs_beside_its_own_time() {
        Ablation found = of(BETTER, WEIGHED, PROPAGATED, LEARNED);

        assertCosts(2 + 100 + 200, found.totals().get(0));
        assertCosts(3 + 1000 + 2000, found.totals().get(1));
        assertCosts(10, found.totals().get(2));
    }

    @Test
    void without_error_propagation_the_original_model_is_followed_for_learned_rounding() {
        assertCosts(10 + 1000, of(BETTER, LEARNED).totals().getFirst());
    }

    @Test
    void a_model_that_is_worse_than_plain_gptq_is_warned_of_with_both_numbers_and_what_to_do() {
        String warning = Ablations.warning(WORSE).orElseThrow();

        for (String part : List.of("further from the original than plain GPTQ", "0.05", "0.02", "--samples",
                "--calibrator gptq")) {
            assertTrue(warning.contains(part), part + " not in " + warning);
        }
    }

    @Test
    void no_warning_where_it_is_better_or_where_that_is_not_known() {
        assertEquals(Optional.empty(), Ablations.warning(BETTER));
        assertEquals(Optional.empty(), Ablations.warning(new HeldOutLosses(3, 3.1, 0.02, Double.NaN)));
        assertEquals(Optional.empty(), Ablations.warning(null));
    }

    private static Ablation of(@Nullable HeldOutLosses losses, StepOutcome... steps) {
        return Objects.requireNonNull(Ablations.of(List.of(steps), TEXT, PHASES, losses));
    }

    private static void assertCosts(double seconds, Ablation.Total found) {
        assertEquals(seconds, found.seconds(), 1e-9, found.name());
        assertEquals(seconds / 50, Objects.requireNonNull(found.shareOfPlainGptqTime()), 1e-9, found.name());
    }

    private static StepOutcome step(String name, int block, double before, double after, boolean kept, double seconds) {
        return new StepOutcome(name, block, before, after, kept, seconds, "");
    }

    private static RunReport.Phase phase(String name, double seconds) {
        return new RunReport.Phase(name, seconds, 0);
    }
}
