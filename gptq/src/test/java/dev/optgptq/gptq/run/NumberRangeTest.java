package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.function.BiConsumer;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Activations, weights and scales at the ends of float16 and float32. */
class NumberRangeTest {

    private static final String QUERY = "model.layers.1.self_attn.q_proj";

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** The same function with a residual stream of 2^14 times the size, which RMS norms undo. */
    @ParameterizedTest
    @EnumSource(CalibratorKind.class)
    void activations_near_the_end_of_float16_make_the_checkpoint_ask_for_bfloat16(CalibratorKind calibrator)
            throws IOException {
        TinyRun run = run(writers(0x1p14f));
        run.calibrator = calibrator;
        run.evaluate = true;

        RunReport report = run.run();

        assertEquals("bfloat16", config(run).path("torch_dtype").asString());
        assertEquals("bfloat16", config(run).path("dtype").asString());
        assertEquals("bfloat16", report.range().dtype());
        double largest = Objects.requireNonNull(report.range().largestActivation());
        assertTrue(largest > 32752 && largest < 1e6, "largest activation: " + largest);
        assertTrue(Objects.requireNonNull(report.range().largestAt()).contains("residual stream"),
                report.range().toString());
        assertTrue(report.warnings().stream().anyMatch(warning -> warning.contains("bfloat16")),
                report.warnings().toString());
        assertTrue(run.log.containsAll(report.warnings()), run.log.toString());
    }

    @ParameterizedTest
    @EnumSource(value = CalibratorKind.class, names = {"GPTQ", "GRADIENT"})
    void ordinary_activations_leave_it_at_float16_and_are_measured_per_site(CalibratorKind calibrator)
            throws IOException {
        TinyRun run = run((name, values) -> {
            if (name.contains("embed_tokens")) {
                for (int i = 3; i < values.length; i += TinyModel.HIDDEN) {
                    values[i] = 1000;
                }
            }
        });
        run.calibrator = calibrator;

        RunReport report = run.run();

        assertEquals("float16", config(run).path("torch_dtype").asString());
        RunReport.Layer first = report.layers().getFirst();
        assertEquals(1000, Objects.requireNonNull(first.largestResidual()), 5,
                "what the first block reads is the embedding");
        double largest = Objects.requireNonNull(report.range().largestActivation());
        assertTrue(largest >= 1000 && largest < 1100, "largest activation: " + largest);
        assertTrue(report.warnings().stream().noneMatch(warning -> warning.contains("float16")),
                report.warnings().toString());
    }

    @Test
    void round_to_nearest_without_evaluation_says_that_activations_are_unknown() throws IOException {
        TinyRun run = run((name, values) -> {});
        run.calibrator = CalibratorKind.RTN;

        RunReport report = run.run();

        assertEquals("float16", config(run).path("torch_dtype").asString());
        assertNull(report.range().largestActivation());
        assertTrue(run.log.stream().anyMatch(line -> line.startsWith("no activations were seen")), run.log.toString());
    }

    /** Squares of 1e30 overflow float32; an RMS norm makes zeros of them, and perplexity stays the same, before and after. */
    @ParameterizedTest
    @CsvSource({"RTN, true", "GPTQ, false", "GPTQ, true", "GRADIENT, false"})
    void activations_whose_squares_overflow_float32_are_refused_by_block(CalibratorKind calibrator, boolean evaluate)
            throws IOException {
        TinyRun run = run(scaled(name -> name.contains("embed_tokens"), 1e30f));
        run.calibrator = calibrator;
        run.evaluate = evaluate;

        UserError error = assertThrows(UserError.class, run::run);

        assertEquals(Code.NUMERIC, error.code(), error.toString());
        String message = String.valueOf(error.getMessage());
        assertTrue(message
                .contains(calibrator == CalibratorKind.RTN ? "embedding, residual stream" : "block 0, residual stream")
                && message.contains("norm"), message);
        assertTrue(!Files.exists(run.output), "no output");
    }

    @Test
    void weights_below_float16s_scales_are_refused_by_module_with_the_reason() {
        TinyRun run = run(only(QUERY, 1e-9f));
        run.calibrator = CalibratorKind.RTN;

        UserError error = assertThrows(UserError.class, run::run);

        assertEquals(Code.NUMERIC, error.code(), error.toString());
        String message = String.valueOf(error.getMessage());
        assertTrue(message.startsWith(QUERY + ": its weights are too small for float16 scales"), message);
        assertTrue(!message.contains("bits"), message);
        assertTrue(!Files.exists(run.output), "no output");
    }

    /** About 1.5e-7, a scale is off by up to a fifth; at 1.5e6 it would have to be 5 times what float16 has. */
    @ParameterizedTest
    @CsvSource({"5e-6, too small", "1e7, too large"})
    void weights_that_float16_scales_hold_badly_are_a_problem_of_their_layer(float factor, String what) {
        TinyRun run = run(only(QUERY, factor));
        run.calibrator = CalibratorKind.RTN;

        RunReport report = run.run();

        RunReport.Layer layer = report.layers().stream().filter(each -> each.module().equals(QUERY)).findFirst()
                .orElseThrow();
        String problem = Objects.requireNonNull(layer.problem());
        assertTrue(problem.contains(what + " for float16 scales"), problem);
        assertTrue(run.log.contains(QUERY + ": " + problem), run.log.toString());
        assertTrue(
                report.layers().stream().filter(each -> !each.equals(layer)).allMatch(each -> each.problem() == null),
                report.layers().toString());
    }

    @Test
    void groups_that_vanish_beside_ordinary_ones_are_counted() {
        TinyRun run = run((name, values) -> {
            for (int i = 0; name.startsWith(QUERY) && i < values.length / 2; i++) {
                values[i] *= 1e-9f;
            }
        });
        run.calibrator = CalibratorKind.RTN;

        RunReport report = run.run();

        // Half of 128 outputs, each with 128 / 32 groups.
        assertTrue(report.warnings().stream().anyMatch(line -> line.startsWith(QUERY + ": 256 of 512 groups")),
                report.warnings().toString());
    }

    @Test
    void the_share_of_negative_scales_is_that_of_the_file() {
        TinyRun run = run((name, values) -> {});
        run.scaleSearch = true;

        RunReport report = run.run();

        long all = 0;
        long negative = 0;
        for (var entry : WrittenCheckpoint.read(run.output).tensors().entrySet()) {
            if (entry.getKey().endsWith(".scales")) {
                for (float scale : entry.getValue().floats()) {
                    all++;
                    negative += scale < 0 ? 1 : 0;
                }
            }
        }
        assertTrue(negative > 0.2 * all, negative + " of " + all);
        assertEquals((double) negative / all, report.range().negativeScales());
    }

    @ParameterizedTest
    @EnumSource(CalibratorKind.class)
    void positive_scales_are_all_positive(CalibratorKind calibrator) {
        TinyRun run = run((name, values) -> {});
        run.calibrator = calibrator;
        run.scaleSearch = true;
        run.positiveScales = true;
        run.refinement = Refinement.DEFAULT.polished(true, 1);

        RunReport report = run.run();

        assertEquals(0, report.range().negativeScales());
        assertEquals("true", report.command().get("--positive-scales"));
    }

    private TinyRun run(BiConsumer<String, float[]> edit) {
        return new TinyRun(TinyModel.LLAMA.write(folder.resolve("model"), edit), folder);
    }

    /** What writes to the residual stream. */
    private static BiConsumer<String, float[]> writers(float factor) {
        return scaled(name -> name.contains("embed_tokens") || name.contains("o_proj") || name.contains("down_proj"),
                factor);
    }

    private static BiConsumer<String, float[]> only(String module, float factor) {
        return scaled(name -> name.equals(module + ".weight"), factor);
    }

    private static BiConsumer<String, float[]> scaled(Predicate<String> which, float factor) {
        return (name, values) -> {
            for (int i = 0; which.test(name) && i < values.length; i++) {
                values[i] *= factor;
            }
        };
    }

    private static JsonNode config(TinyRun run) throws IOException {
        return new JsonMapper().readTree(Files.readString(run.output.resolve("config.json")));
    }

}
