package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.ExpertCoverage;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyMixture;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Quantizing a mixture of experts in Mixtral's form. */
class ExpertsRunTest {

    private static final TinyMixture MIXTURE = new TinyMixture(4);

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void every_expert_is_packed_and_routers_stay_as_they_are() {
        TinyRun run = new TinyRun(MIXTURE.write(folder.resolve("model")), folder);

        RunReport report = run.run();

        List<ExpertCoverage> coverage = ExpertCoverage.of(report.layers());
        assertEquals(TinyMixture.BLOCKS, coverage.size());
        for (ExpertCoverage block : coverage) {
            assertEquals(MIXTURE.experts(), block.tokens().size());
            assertEquals((long) TinyMixture.ACTIVE * run.samples * run.sequenceLength,
                    block.tokens().stream().mapToLong(Long::longValue).sum(), block::toString);
            long few = block.tokens().stream().filter(tokens -> tokens < TinyMixture.WIDTH).count();
            assertEquals(few, block.shrunk(), block::toString);
        }
        WrittenCheckpoint source = WrittenCheckpoint.read(run.settings().model());
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        Set<String> names = written.tensors().keySet();
        for (int block = 0; block < TinyMixture.BLOCKS; block++) {
            String in = "model.layers." + block + ".block_sparse_moe.";
            for (int expert = 0; expert < MIXTURE.experts(); expert++) {
                for (String part : List.of("w1", "w2", "w3")) {
                    assertTrue(names.contains(in + "experts." + expert + "." + part + ".qweight"), names::toString);
                }
            }
            String router = in + "gate.weight";
            assertArrayEquals(Objects.requireNonNull(source.tensors().get(router)).floats(),
                    Objects.requireNonNull(written.tensors().get(router)).floats(), 1e-3f, router);
        }
    }

    /** Two tokens choose four experts of four, some of them twice: vLLM loads no layer of which one expert is not quantized. */
    @Test
    void an_expert_that_no_token_meets_is_quantized_too() {
        TinyRun run = new TinyRun(MIXTURE.write(folder.resolve("model")), folder);
        run.samples = 1;
        run.sequenceLength = 2;

        RunReport report = run.run();

        WrittenCheckpoint source = WrittenCheckpoint.read(run.settings().model());
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        int unmet = 0;
        for (ExpertCoverage block : ExpertCoverage.of(report.layers())) {
            for (int expert = 0; expert < MIXTURE.experts(); expert++) {
                if (block.tokens().get(expert) == 0) {
                    unmet++;
                    String module = "model.layers." + block.block() + ".block_sparse_moe.experts." + expert + ".w1";
                    assertNear(source.tensor(module + ".weight").floats(), written.dequantized(module), module);
                }
            }
        }
        assertTrue(unmet > 0, report.layers()::toString);
    }

    /** A step is a seventh of a group's largest weight, some 0.3 standard deviations, and rounding is off by 0.29 steps of that. */
    private static void assertNear(float[] expected, float[] found, String module) {
        double error = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            error += Math.pow(found[i] - expected[i], 2);
            size += Math.pow(expected[i], 2);
        }
        assertTrue(error < 0.15 * 0.15 * size, module + ": " + Math.sqrt(error / size));
    }

    @Test
    void the_bytes_do_not_depend_on_the_number_of_threads() {
        assertTrue(new TinyRun(MIXTURE.write(folder.resolve("model")), folder).filesForAnyThreads().size() > 1);
    }

    /** Experts pass in groups of three and one; blocks but the last stop where their sites are summed. */
    @Test
    void the_bytes_do_not_depend_on_how_many_experts_have_hessians_at_once() {
        TinyRun run = new TinyRun(MIXTURE.write(folder.resolve("model")), folder);
        SortedMap<String, Long> together = run.files();
        run.expertsAtOnce = 3;
        assertEquals(together, run.files(), "3 at once");
        assertTrue(run.log.stream().anyMatch(line -> line.contains("of 3 of 4 experts at a time")),
                run.log::toString);
    }

    /** Codes of experts are parked, too; every step of the default, and polishing, solves them anew from the same sums. */
    @Test
    void the_bytes_of_gradient_calibration_do_not_depend_on_how_many_experts_have_hessians_at_once() {
        TinyRun run = new TinyRun(MIXTURE.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.samples = 10;
        run.refinement = Refinement.DEFAULT.polished(true, 1);
        SortedMap<String, Long> together = run.files();
        run.expertsAtOnce = 3;
        assertEquals(together, run.files(), "3 at once");
        run.expertsAtOnce = 1;
        assertEquals(together, run.files(), "1 at once");
        assertTrue(run.log.stream().anyMatch(line -> line.contains("Hessians of 1 of 4 experts at a time")),
                run.log::toString);
    }

    /** Hessians weigh tokens by the loss's gradient, experts' too; errors are propagated in attention alone. */
    @Test
    void gradient_calibration_keeps_what_helps_and_says_what_it_leaves_out() {
        TinyRun run = new TinyRun(MIXTURE.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.samples = 10;
        run.refinement = new Refinement(true, new NextToken(), true, 2, 3);

        RunReport report = run.run();

        assertTrue(report.warnings().stream().anyMatch(line -> line.contains("not propagated into experts")),
                report.warnings()::toString);
        List<Ablation.Step> steps = Objects.requireNonNull(report.ablation()).steps();
        for (int block = 0; block < TinyMixture.BLOCKS; block++) {
            int wanted = block;
            List<Ablation.Step> its = steps.stream().filter(step -> Objects.equals(step.block(), wanted)).toList();
            assertEquals(List.of("scale search", "token weights", "error propagation in attention", "learned rounding"),
                    its.stream().map(Ablation.Step::name).toList());
            its.forEach(step -> assertNotEquals(step.lossBefore(), step.lossAfter(), step::toString));
            its.forEach(step -> assertTrue(!step.kept() || step.lossAfter() < step.lossBefore(), step::toString));
        }
    }

    @Test
    void the_progress_of_gradient_calibration_rises_to_what_was_planned() {
        TinyRun run = new TinyRun(MIXTURE.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;

        run.runWithRisingProgress();
    }
}
