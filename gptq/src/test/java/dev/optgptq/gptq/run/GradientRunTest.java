package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.SampledLabels;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradient calibration from the settings to the files and the report. */
class GradientRunTest {

    private static final int STEPS = 3;
    /** For the held-out sequences to say that learning helped. */
    private static final int ENOUGH_STEPS = 8;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** An error of the grid is at most its range; 8 bits are near, and 2 bits still go with the original. */
    @ParameterizedTest
    @CsvSource({"LLAMA, STATIC, 2, true, 0.75", "LLAMA, NONE, 4, false, 0.2", "LLAMA, GROUP, 8, true, 0.02",
            "MPT, GROUP, 3, false, 0.4", "MPT, STATIC, 4, true, 0.2", "MPT, NONE, 8, false, 0.02"})
    void what_was_learned_decodes_to_weights_near_the_original_ones(TinyModel.Family family, ActOrder actOrder,
            int bits,
            boolean symmetric, double tolerance) {
        TinyRun run = tuned(family);
        run.actOrder = actOrder;
        run.bits = bits;
        symmetric(run, symmetric);

        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        WrittenCheckpoint original = WrittenCheckpoint.read(run.settings().model());
        assertTrue(written.modules().length > 0, "linears were quantized");
        for (String module : written.modules()) {
            double distance = distance(original.tensor(module + ".weight").floats(), written.dequantized(module));
            assertTrue(distance < tolerance, () -> module + ": |W - Q| / |W| = " + distance + ", " + run);
        }
    }

    @ParameterizedTest
    @CsvSource({"LLAMA, STATIC, true", "LLAMA, GROUP, false", "MPT, NONE, true", "MPT, STATIC, false"})
    void no_kept_step_raises_an_error_and_no_block_ends_worse_than_plain_gptq(TinyModel.Family family,
            ActOrder actOrder, boolean symmetric) {
        TinyRun run = tuned(family);
        run.actOrder = actOrder;
        symmetric(run, symmetric);

        Ablation ablation = ablation(run.run());

        for (int block = 0; block < TinyModel.BLOCKS; block++) {
            int wanted = block;
            List<Ablation.Step> steps = ablation.steps().stream()
                    .filter(step -> Objects.equals(step.block(), wanted)).toList();
            assertEquals(5, steps.size(), steps::toString);
            double error = steps.getFirst().lossBefore();
            for (Ablation.Step step : steps) {
                assertEquals(error, step.lossBefore(), step.toString());
                assertTrue(!step.kept() || step.lossAfter() < error, step::toString);
                error = step.kept() ? step.lossAfter() : error;
            }
            assertTrue(error <= steps.getFirst().lossBefore(), steps::toString);
        }
        Ablation.Step whole = ablation.steps().getLast();
        assertTrue(whole.lossAfter() <= whole.lossBefore(), whole::toString);
        assertEquals(whole.lossAfter() < whole.lossBefore(), whole.kept(), whole.toString());
    }

    @ParameterizedTest
    @CsvSource({"LLAMA, GROUP, false", "MPT, STATIC, true"})
    void learning_gives_the_same_files_for_every_number_of_threads(TinyModel.Family family, ActOrder actOrder,
            boolean symmetric) {
        TinyRun run = tuned(family);
        run.actOrder = actOrder;
        symmetric(run, symmetric);

        run.filesForAnyThreads();
    }

    /** RMS norms, and layer norms with biases, in float16: what a few steps change of a norm near 1 is below half a step of bfloat16. */
    static Stream<TinyModel> models() {
        return Stream.of(TinyModel.LLAMA.withDtype(DType.F16), TinyModel.MPT_WITH_BIASES).map(TinyModel::withOwnHead);
    }

    @ParameterizedTest
    @MethodSource("models")
    void learned_norms_stand_in_the_checkpoint_in_their_dtype_and_all_else_is_the_sources(TinyModel tiny) {
        TinyRun run = learningNorms(tiny, true);

        Ablation.Step whole = ablation(run.run()).steps().getLast();

        assertEquals("tuned scales and norms", whole.name());
        assertTrue(whole.kept(), whole::toString);
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        WrittenCheckpoint.read(run.settings().model()).tensors().forEach((name, source) -> {
            WrittenCheckpoint.Entry found = written.tensors().get(name);
            if (found == null) {
                assertTrue(written.tensors().containsKey(name.replace(".weight", ".qweight")), name);
            } else if (name.contains("norm")) {
                assertEquals(source.layout(), found.layout(), name);
                assertFalse(Arrays.equals(source.data(), found.data()), name);
                assertTrue(distance(source.floats(), found.floats()) < 0.05, name + " is near what it was");
            } else {
                assertArrayEquals(source.data(), found.data(), name);
            }
        });
    }

    @ParameterizedTest
    @MethodSource("models")
    void norms_that_are_not_learned_are_the_sources_to_the_bit(TinyModel tiny) {
        TinyRun run = learningNorms(tiny, false);

        assertEquals("tuned scales", ablation(run.run()).steps().getLast().name());

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        WrittenCheckpoint.read(run.settings().model()).tensors().forEach((name, source) -> {
            if (name.contains("norm")) {
                assertArrayEquals(source.data(), written.tensor(name).data(), name);
            }
        });
    }

    @ParameterizedTest
    @MethodSource("models")
    void learned_norms_are_the_same_for_every_number_of_threads(TinyModel tiny) {
        learningNorms(tiny, true).filesForAnyThreads();
    }

    @Test
    void tokens_that_are_not_weighed_leave_that_step_out_and_need_no_gradients() {
        TinyRun run = tuned(TinyModel.Family.MPT);
        run.refinement = new Refinement(false, new NextToken(), true, 0, 0);

        RunReport report = run.run();

        assertEquals(List.of("scale search", "error propagation in attention", "error propagation"),
                names(ablation(report)));
        assertFalse(report.phases().stream().anyMatch(phase -> phase.name().equals("gradients")),
                report.phases()::toString);
    }

    @Test
    void errors_that_are_not_propagated_leave_those_steps_out() {
        TinyRun run = tuned(TinyModel.Family.LLAMA);
        run.refinement = new Refinement(true, new NextToken(), false, 0, 0);

        assertEquals(List.of("scale search", "token weights"), names(ablation(run.run())));
    }

    @Test
    void whole_models_are_measured_on_the_held_out_sequences_and_fewer_bits_take_them_further_away() {
        TinyRun run = untuned();
        Ablation two = withBits(run, 2);
        Ablation eight = withBits(run, 8);

        assertEquals(0.0, two.unquantizedLoss());
        assertTrue(known(eight.quantizedLoss()) > 0, eight::toString);
        assertTrue(known(two.quantizedLoss()) > 10 * known(eight.quantizedLoss()), two + " and " + eight);
        assertTrue(known(two.plainGptqLoss()) > 10 * known(eight.plainGptqLoss()), two + " and " + eight);
        assertEquals(two.unquantizedCrossEntropy(), eight.unquantizedCrossEntropy(), "of the same model");
        assertNotEquals(two.unquantizedCrossEntropy(), two.quantizedCrossEntropy());
    }

    @Test
    void each_steps_cost_is_given_beside_that_of_plain_gptq() {
        for (Ablation.Total total : withBits(untuned(), 4).totals()) {
            assertTrue(known(total.shareOfPlainGptqTime()) > 0, total::toString);
        }
    }

    @Test
    void sampled_labels_weigh_tokens_the_same_for_the_same_seed_and_otherwise_for_another() {
        TinyRun run = tuned(TinyModel.Family.LLAMA);

        double first = weighedError(run, 1);

        assertEquals(first, weighedError(run, 1));
        assertNotEquals(first, weighedError(run, 2));
    }

    @Test
    void one_sample_is_refused_for_there_is_none_to_validate_with() {
        TinyRun run = tuned(TinyModel.Family.LLAMA);
        run.samples = 1;

        assertUserError(Code.BAD_SETTING, run::run, "--samples 1", "holds sequences out for validation", "at least 2",
                "--calibrator gptq");
    }

    @Test
    void two_samples_are_one_to_learn_from_and_one_to_validate_with() {
        TinyRun run = tuned(TinyModel.Family.MPT);
        run.samples = 2;

        assertEquals(run.sequenceLength, ablation(run.run()).tokens());
    }

    /** Validation weights held-out tokens by the gradients of those labels. */
    private static double weighedError(TinyRun run, long seed) {
        run.refinement = new Refinement(true, new SampledLabels(seed), false, 0, 0);
        run.overwrite = true;
        return ablation(run.run()).steps().getFirst().lossBefore();
    }

    private TinyRun tuned(TinyModel.Family family) {
        TinyRun run = new TinyRun(TinyModel.of(family).write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(true, new NextToken(), true, STEPS, 0);
        return run;
    }

    private TinyRun learningNorms(TinyModel tiny, boolean norms) {
        TinyRun run = new TinyRun(tiny.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(true, new NextToken(), true, ENOUGH_STEPS, 0).tuningNorms(norms);
        return run;
    }

    private TinyRun untuned() {
        TinyRun run = tuned(TinyModel.Family.LLAMA);
        run.refinement = Refinement.DEFAULT;
        run.overwrite = true;
        return run;
    }

    private static Ablation withBits(TinyRun run, int bits) {
        run.bits = bits;
        return ablation(run.run());
    }

    private static double known(@Nullable Double value) {
        return Objects.requireNonNull(value);
    }

    private static void symmetric(TinyRun run, boolean symmetric) {
        run.symmetric = symmetric;
        run.format = symmetric ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2;
    }

    private static Ablation ablation(RunReport report) {
        return Objects.requireNonNull(report.ablation());
    }

    private static List<String> names(Ablation ablation) {
        return ablation.totals().stream().map(Ablation.Total::name).toList();
    }

    private static double distance(float[] original, float[] found) {
        assertEquals(original.length, found.length);
        double error = 0;
        double energy = 0;
        for (int i = 0; i < original.length; i++) {
            error += Math.pow(original[i] - found[i], 2);
            energy += Math.pow(original[i], 2);
        }
        return Math.sqrt(error / energy);
    }
}
