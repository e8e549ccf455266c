package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.exchange.FormatExport;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.TargetSettings;
import dev.optgptq.gptq.serving.TargetName;
import dev.optgptq.gptq.testing.TinyMixture;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** SlimQuant W4A8: what is quantized to what, and the way to other formats and back. */
class SlimQuantTest {

    private static final String EXPERT = "model.layers.1.block_sparse_moe.experts.3.w2";
    private static final String QUERY = "model.layers.1.self_attn.q_proj";

    @TempDir
    private Path folder = Path.of("");

    @Test
    void experts_have_4_bits_and_other_linears_8_and_nothing_else_is_said() {
        TinyRun run = run(CheckpointFormat.SLIMQUANT);
        run.target = new TargetSettings(TargetName.DCU, 1);
        run.run();

        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        assertEquals("{\"quant_method\":\"slimquant_w4a8\",\"activation_scheme\":\"dynamic\"}",
                written.json("config.json").get("quantization_config").toString());
        try (ModelDirectory model = ModelDirectory.open(run.output)) {
            assertEquals("I8 [128, 64]", stored(model, EXPERT + ".weight"));
            assertEquals("I8 [128, 128]", stored(model, QUERY + ".weight"));
            assertEquals("F32 [128, 1]", stored(model, EXPERT + ".weight_scale"));
            assertEquals(4, model.packed(EXPERT).orElseThrow().bits());
            assertEquals(8, model.packed(QUERY).orElseThrow().bits());
        }
    }

    private static String stored(ModelDirectory model, String name) {
        return model.tensor(name).dtype() + " " + model.tensor(name).shape();
    }

    @Test
    void its_codes_go_to_another_format_and_back() {
        TinyRun run = run(CheckpointFormat.SLIMQUANT);
        run.run();
        Path other = folder.resolve("other");
        Path back = folder.resolve("back");
        export(run.output, CheckpointFormat.COMPRESSED_TENSORS, other);
        export(other, CheckpointFormat.SLIMQUANT, back);

        try (ModelDirectory first = ModelDirectory.open(run.output);
                ModelDirectory between = ModelDirectory.open(other);
                ModelDirectory again = ModelDirectory.open(back)) {
            assertArrayEquals(
                    first.packed(EXPERT).orElseThrow().part(PackedPart.CODES).toArray(ValueLayout.JAVA_BYTE),
                    between.packed(EXPERT).orElseThrow().part(PackedPart.CODES).toArray(ValueLayout.JAVA_BYTE));
            assertEquals(first.tensors().keySet(), again.tensors().keySet());
            first.tensors().forEach((name, view) -> assertEquals(-1, view.data().mismatch(again.tensor(name).data()),
                    name));
        }
    }

    private static void export(Path from, CheckpointFormat format, Path to) {
        try (ModelDirectory model = ModelDirectory.open(from)) {
            FormatExport.Summary written = FormatExport.write(model, format, List.of(), List.of(),
                    new Provenance("opt-gptq:9.9.9", 0, false, false), to, false);
            assertEquals(0, written.scaleChange());
        }
    }

    @Test
    void what_its_loader_does_not_expect_is_refused() {
        TinyRun run = run(CheckpointFormat.SLIMQUANT);
        run.modules = TinyRun.rules(List.of(), List.of(".*q_proj"));
        assertUserError(Code.BAD_SETTING, run::run, "every linear of a block quantized");
        run.modules = TinyRun.rules(List.of(".*w2=bits:8"), List.of());
        assertUserError(Code.BAD_SETTING, run::run, "--format slimquant", "contradict each other");
        run.modules = TinyRun.rules(List.of(".*q_proj=bits:4"), List.of());
        assertUserError(Code.BAD_SETTING, run::run, "expected 8 bits in model.layers.0.self_attn.q_proj");

        TinyRun dense = new TinyRun(TinyModel.LLAMA.write(folder.resolve("dense")), folder);
        dense.format = CheckpointFormat.SLIMQUANT;
        dense.bits = 8;
        dense.groupSize = -1;
        assertUserError(Code.BAD_SETTING, dense::run, "a mixture of experts", "--format w8a8");
    }

    private TinyRun run(CheckpointFormat format) {
        TinyRun run = new TinyRun(new TinyMixture(4).write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.RTN;
        run.format = format;
        run.bits = 8;
        run.groupSize = -1;
        return run;
    }
}
