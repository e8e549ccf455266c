package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.exchange.FormatExport;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.recipe.ModulePatterns;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.ModuleSettings;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Checkpoints whose modules have grids of their own, or none. */
class ModuleGridsRunTest {

    private static final String UP = "model.layers.0.mlp.up_proj";
    private static final String DOWN = "model.layers.1.mlp.down_proj";
    private static final String OUT = "model.layers.1.self_attn.o_proj";

    @TempDir
    private Path folder = Path.of("");

    @ParameterizedTest
    @CsvSource({"GPTQ, COMPRESSED_TENSORS, 0", "GRADIENT, GPTQ_V2, 1"})
    void a_calibrator_writes_what_the_rules_say_and_reads_it_back(CalibratorKind calibrator,
            CheckpointFormat format, int tuneSteps) {
        TinyRun run = run(calibrator, format);
        run.refinement = new Refinement(true, new NextToken(), true, tuneSteps, 0);
        run.evaluate = calibrator == CalibratorKind.GPTQ;

        RunReport report = run.run();

        assertEquals(2 * 7 - 1, report.layers().size());
        assertHolds(run);
    }

    @Test
    void export_takes_own_grids_and_skipped_linears_to_another_format_and_back() {
        TinyRun run = run(CalibratorKind.RTN, CheckpointFormat.GPTQ_V2);
        run.run();
        assertHolds(run);
        export(run.output, CheckpointFormat.COMPRESSED_TENSORS, folder.resolve("ct"));
        export(folder.resolve("ct"), CheckpointFormat.GPTQ_V2, folder.resolve("back"));

        WrittenCheckpoint before = WrittenCheckpoint.read(run.output);
        WrittenCheckpoint after = WrittenCheckpoint.read(folder.resolve("back"));
        assertEquals(before.json("quantize_config.json").get("dynamic"),
                after.json("quantize_config.json").get("dynamic"));
        before.tensors().forEach((name, tensor) -> assertArrayEquals(tensor.data(), after.tensor(name).data(), name));
        export(run.output, CheckpointFormat.MLX, folder.resolve("mlx"));
        export(folder.resolve("mlx"), CheckpointFormat.GPTQ_V2, folder.resolve("mlx-back"));
        assertEquals("{\"group_size\":32,\"bits\":3}", WrittenCheckpoint.read(folder.resolve("mlx")).json("config.json")
                .get("quantization").get(DOWN).toString());
        WrittenCheckpoint again = WrittenCheckpoint.read(folder.resolve("mlx-back"));
        before.tensors().forEach((name, tensor) -> assertArrayEquals(tensor.data(), again.tensor(name).data(), name));
        assertUserError(Code.UNSUPPORTED_MODEL, () -> export(run.output, CheckpointFormat.AWQ, folder.resolve("awq")),
                "format awq", "--format gptq or compressed-tensors");
    }

    /** Says, and holds, what the rules came to. */
    private static void assertHolds(TinyRun run) {
        try (ModelDirectory written = ModelDirectory.open(run.output); Device device = Devices.open("cpu", 1)) {
            assertGrid(8, 2, written.packed(UP));
            assertGrid(3, 12, written.packed(DOWN));
            assertGrid(4, 4, written.packed("model.layers.1.mlp.up_proj"));
            assertTrue(written.packed(OUT).isEmpty());
            // Opening checks that every tensor is known.
            assertEquals(2, Transformer.open(written, device).spec().blocks());
        }
        WrittenCheckpoint found = WrittenCheckpoint.read(run.output);
        assertArrayEquals(WrittenCheckpoint.read(run.settings().model()).tensor(OUT + ".weight").data(),
                found.tensor(OUT + ".weight").data());
        String block = found.json("config.json").get("quantization_config").toString();
        assertTrue(block.contains(run.format == CheckpointFormat.GPTQ_V2
                ? "\"-:model\\\\.layers\\\\.1\\\\.self_attn\\\\.o_proj$\":{}"
                : "\"ignore\":[\"" + OUT + "\",\"lm_head\"]"), block);
    }

    private static void export(Path from, CheckpointFormat format, Path to) {
        try (ModelDirectory directory = ModelDirectory.open(from)) {
            ModelSpec spec = ModelSpec.resolve(directory);
            FormatExport.write(directory, format, spec.plainModules(directory.tensors().values()),
                    ModulePatterns.of(spec, linear -> directory.packed(linear.module()).isEmpty()),
                    new QuantizationConfig.Provenance("test:1", 0, false, false), to, false);
        }
    }

    @Test
    void a_block_without_a_quantized_linear_is_passed_through_and_progress_ends_where_it_was_said_to() {
        TinyRun run = run(CalibratorKind.GPTQ, CheckpointFormat.GPTQ_V2);
        run.modules = TinyRun.rules(List.of(".*0.mlp.down_proj=bits:3,sym:false"), List.of("model\\.layers\\.1\\..*"));

        run.runWithRisingProgress();

        assertEquals(7, WrittenCheckpoint.read(run.output).modules().length);
    }

    @Test
    void an_interrupted_run_with_other_grids_is_not_resumed() {
        TinyRun run = run(CalibratorKind.GPTQ, CheckpointFormat.GPTQ_V2);
        ResumeTest.stop(run, "block 2/2: solve");
        ModuleSettings before = run.modules;
        run.modules = ModuleSettings.NONE;
        assertUserError(Code.OUTPUT, run::run, "the modules with a grid of their own was",
                "self_attn\\.o_proj$ skipped", "and is none");

        run.modules = before;
        run.run();
        assertTrue(run.log.stream().anyMatch(line -> line.startsWith("resuming after block 1 of 2")),
                run.log::toString);
    }

    private TinyRun run(CalibratorKind calibrator, CheckpointFormat format) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = calibrator;
        run.format = format;
        run.samples = 2;
        run.sequenceLength = 32;
        run.modules = TinyRun.rules(List.of(".*0.mlp.up_proj=bits:8,group:64", ".*1.mlp.down_proj=bits:3,sym:false"),
                List.of(".*1.self_attn.o_proj"));
        return run;
    }

    private static void assertGrid(int bits, int groups, Optional<PackedLinear> linear) {
        PackedLinear packed = Objects.requireNonNull(linear.orElse(null));
        assertEquals(bits, packed.bits());
        assertEquals(groups, packed.groups());
    }
}
