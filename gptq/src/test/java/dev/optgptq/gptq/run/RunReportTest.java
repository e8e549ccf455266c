package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a run says about itself, held against what it did. */
class RunReportTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"LLAMA, GPTQ, false, false", "LLAMA, GPTQ, true, true", "LLAMA, RTN, false, true",
            "MPT, GPTQ, true, false", "MPT, RTN, false, false", "LLAMA, GRADIENT, false, true"})
    void progress_never_falls_and_ends_at_its_total(TinyModel.Family family, CalibratorKind calibrator,
            boolean trueSequential, boolean evaluate) {
        TinyRun run = new TinyRun(TinyModel.of(family).write(folder.resolve("model")), folder);
        run.calibrator = calibrator;
        run.trueSequential = trueSequential;
        run.evaluate = evaluate;
        run.runWithRisingProgress();
    }

    @Test
    void every_step_of_a_refinement_is_reported_those_of_the_whole_model_too() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(true, new NextToken(), true, 4, 0).tuningNorms(true);

        Ablation ablation = Objects.requireNonNull(run.run().ablation());

        List<String> names = ablation.totals().stream().map(Ablation.Total::name).toList();
        assertTrue(names.containsAll(List.of("token weights", "error propagation", "learned rounding")),
                names::toString);
        assertEquals("tuned scales and norms", names.getLast());
        Ablation.Step last = ablation.steps().getLast();
        assertNull(last.block());
        assertEquals(last.kept() ? last.lossAfter() : last.lossBefore(), ablation.totals().getLast().heldOutLoss());
    }

    @Test
    void a_run_without_steps_has_no_ablation() {
        assertNull(new TinyRun(TinyModel.MPT.write(folder.resolve("model")), folder).run().ablation());
    }

    @Test
    void every_linear_is_reported_once_in_the_order_of_the_forward_pass() {
        TinyRun run = new TinyRun(TinyModel.MPT.write(folder.resolve("model")), folder);

        RunReport report = run.run();

        List<String> roles = List.of("attn.Wqkv", "attn.out_proj", "ffn.up_proj", "ffn.down_proj");
        List<String> expected = Stream.of(0, 1)
                .flatMap(block -> roles.stream().map(role -> "transformer.blocks." + block + "." + role)).toList();
        assertEquals(expected, report.layers().stream().map(RunReport.Layer::module).toList());
        for (RunReport.Layer layer : report.layers()) {
            assertNull(layer.problem(), layer.toString());
            assertEquals(1, layer.dampAttempts(), layer.toString());
        }
    }

    @Test
    void fewer_bits_lose_more_of_every_layers_output() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        double[][] errors = new double[2][];
        for (int bits : new int[] {3, 8}) {
            TinyRun run = new TinyRun(model, folder);
            run.bits = bits;
            run.overwrite = true;
            errors[bits / 8] = run.run().layers().stream()
                    .mapToDouble(layer -> layer.relativeError() == null ? Double.NaN : layer.relativeError()).toArray();
        }
        for (int layer = 0; layer < errors[0].length; layer++) {
            // 2^5 times finer steps are 2^10 times less error energy, if the inputs were the same.
            double ratio = errors[0][layer] / errors[1][layer];
            assertTrue(ratio > 256 && ratio < 4096, "layer " + layer + ": " + errors[0][layer] + " with 3 bits, "
                    + errors[1][layer] + " with 8");
        }
    }

    @ParameterizedTest
    @CsvSource({"4, 32, true, GPTQ", "3, -1, false, GPTQ_V2"})
    void sizes_are_those_of_the_tensors_on_disk(int bits, int groupSize, boolean symmetric, CheckpointFormat format) {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = CalibratorKind.RTN;
        run.actOrder = ActOrder.NONE;
        run.bits = bits;
        run.groupSize = groupSize;
        run.symmetric = symmetric;
        run.format = format;

        RunReport report = run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        assertEquals(bytes(WrittenCheckpoint.read(model), ""), report.size().bytesBefore());
        assertEquals(bytes(written, ""), report.size().bytesAfter());
        long packed = bytes(written, ".qweight") + bytes(written, ".qzeros") + bytes(written, ".scales")
                + bytes(written, ".g_idx");
        assertEquals(8.0 * packed / report.model().quantizedParameters(), report.size().bitsPerWeight(), 1e-9);
        assertEquals(16, report.size().bitsBefore(), 1e-9);
    }

    @Test
    void predictions_hardly_move_with_8_bits_and_quality_is_missing_when_nothing_was_evaluated() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        TinyRun run = new TinyRun(model, folder);
        run.bits = 8;
        run.evaluate = true;

        RunReport.Quality quality = run.run().quality();

        assertNotNull(quality);
        assertEquals(6, quality.windows(), "400 characters in windows of 64");
        assertEquals(quality.before().perplexity(), quality.after().perplexity(),
                0.01 * quality.before().perplexity());
        assertTrue(quality.before().perplexity() != quality.after().perplexity(), "the quantized model was evaluated");
        double kl = quality.divergence().kl();
        assertTrue(kl > 0 && kl < 0.01, () -> "KL divergence " + kl);
        assertTrue(quality.divergence().top1() > 0.9, () -> "top-1 agreement " + quality.divergence().top1());
        assertEquals(quality.after().perplexity() / quality.before().perplexity() - 1, quality.change().increase(),
                1e-9);
        run.evaluate = false;
        run.overwrite = true;
        assertNull(run.run().quality());
    }

    private static long bytes(WrittenCheckpoint checkpoint, String suffix) {
        return checkpoint.tensors().entrySet().stream().filter(entry -> entry.getKey().endsWith(suffix))
                .mapToLong(entry -> entry.getValue().data().length).sum();
    }
}
