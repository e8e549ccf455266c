package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.testing.TinyMixture;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Models and settings that a run refuses by name, or works around and says so. */
class BadInputTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"model.layers.1.self_attn.k_proj.weight, NaN", "model.layers.0.mlp.down_proj.weight, Infinity",
            "model.layers.1.post_attention_layernorm.weight, NaN", "model.embed_tokens.weight, -Infinity",
            "model.norm.weight, NaN", "lm_head.weight, Infinity"})
    void a_weight_that_is_not_finite_is_refused_by_name_and_no_output_appears(String tensor, float bad)
            throws IOException {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model"), set(tensor, 77, bad)), folder);

        try (Device device = Devices.open("cpu", 2)) {
            assertUserError(Code.NUMERIC, () -> run.run(device), tensor, "1 of", "NaN or infinite",
                    "model.safetensors");

            assertEquals(0, device.memoryInUse(), "bytes that stayed on the device");
        }
        assertTrue(!Files.exists(run.output), names(folder).toString());
    }

    @Test
    void experts_in_another_layout_are_named_with_their_shapes() throws IOException {
        Path model = new TinyMixture(2).write(folder.resolve("model"));
        Path weights = model.resolve("model.safetensors");
        String bytes = Files.readString(weights, StandardCharsets.ISO_8859_1);
        Files.writeString(weights, bytes.replace("experts.1.w3", "experts.b.w3"), StandardCharsets.ISO_8859_1);
        TinyRun run = new TinyRun(model, folder);

        assertUserError(Code.BAD_MODEL, run::run, "experts of block 0 are in no layout of mixtral",
                "expected model.layers.0.block_sparse_moe.experts.1.w3.weight [128, 128], one tensor for each expert",
                "found model.layers.0.block_sparse_moe.experts.b.w3.weight [128, 128]");
        assertTrue(!Files.exists(run.output), names(folder).toString());
    }

    @Test
    void an_input_that_is_never_active_is_counted_and_its_weights_are_rounded_to_nearest() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"), set("model.layers.1.input_layernorm.weight", 5, 0));
        TinyRun run = new TinyRun(model, folder);

        RunReport report = run.run();

        String query = "model.layers.1.self_attn.q_proj";
        assertEquals(1, layer(report, query).deadInputs());
        assertEquals(1, layer(report, "model.layers.1.self_attn.v_proj").deadInputs());
        assertEquals(0, layer(report, "model.layers.1.self_attn.o_proj").deadInputs());
        float[] weight = WrittenCheckpoint.read(run.output).dequantized(query);
        long zeros = IntStream.range(0, TinyModel.HIDDEN).filter(o -> weight[o * TinyModel.HIDDEN + 5] == 0).count();
        assertTrue(zeros < TinyModel.HIDDEN / 4, zeros + " of " + TinyModel.HIDDEN + " are 0");
    }

    @Test
    void a_layer_whose_damping_had_to_grow_is_named_in_the_report_and_the_log() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.samples = 1;
        run.sequenceLength = 16;
        run.damp = 0;

        RunReport report = run.run();

        RunReport.Layer layer = layer(report, "model.layers.0.self_attn.q_proj");
        assertTrue(layer.dampAttempts() > 1, layer.toString());
        assertNotNull(layer.problem());
        assertTrue(layer.problem().contains("the Hessian is close to singular: damping "), layer.problem());
        assertTrue(run.log.contains(layer.module() + ": " + layer.problem()), run.log.toString());
        assertTrue(report.warnings().stream().anyMatch(line -> line.startsWith("16 calibration tokens cannot")),
                report.warnings().toString());
    }

    @ParameterizedTest
    @ValueSource(ints = {48, 256, 0, -2})
    void a_group_size_that_does_not_divide_is_refused_before_anything_is_computed(int groupSize) throws IOException {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.groupSize = groupSize;
        run.progress = (phase, done, total) -> {
            throw new AssertionError("computes: " + phase);
        };

        assertUserError(Code.BAD_SETTING, run::run, "group size", "found " + groupSize);

        assertEquals(Set.of("model", "text.txt", "evaluation.txt"), names(folder));
    }

    private static BiConsumer<String, float[]> set(String tensor, int index, float value) {
        return (name, values) -> {
            if (name.equals(tensor)) {
                values[index] = value;
            }
        };
    }

    private static RunReport.Layer layer(RunReport report, String module) {
        return report.layers().stream().filter(layer -> layer.module().equals(module)).findFirst().orElseThrow();
    }

    private static Set<String> names(Path directory) throws IOException {
        Set<String> names = new TreeSet<>();
        try (var files = Files.list(directory)) {
            files.forEach(file -> names.add(String.valueOf(file.getFileName())));
        }
        return names;
    }
}
