package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/** The same codes, whatever the format: a run in each of them against the same run as gptq or gptq_v2. */
class FormatsTest {

    @TempDir
    private Path folder = Path.of("");

    @ParameterizedTest
    @CsvSource({"COMPRESSED_TENSORS, 4, 32, true, STATIC", "COMPRESSED_TENSORS, 3, 32, false, GROUP",
            "AWQ, 4, 64, false, STATIC",
            "W8A8, 8, -1, true, NONE", "MLX, 3, 32, true, STATIC"})
    void a_checkpoint_holds_the_codes_that_gptq_holds(CheckpointFormat format, int bits, int groupSize,
            boolean symmetric, ActOrder actOrder) {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        TinyRun run = run(model, bits, groupSize, symmetric, actOrder);
        run.format = CheckpointFormat.GPTQ_V2;
        run.output = folder.resolve("gptq");
        run.run();
        run.format = format;
        run.output = folder.resolve("other");
        run.run();

        try (ModelDirectory gptq = ModelDirectory.open(folder.resolve("gptq"));
                ModelDirectory other = ModelDirectory.open(folder.resolve("other"));
                Device device = Devices.open("cpu", 1)) {
            List<String> modules = List.of(WrittenCheckpoint.read(folder.resolve("gptq")).modules());
            assertFalse(modules.isEmpty());
            for (String module : modules) {
                PackedLinear expected = gptq.packed(module).orElseThrow();
                PackedLinear found = other.packed(module).orElseThrow();
                for (PackedPart part : PackedPart.values()) {
                    assertArrayEquals(expected.part(part).toArray(ValueLayout.JAVA_BYTE),
                            found.part(part).toArray(ValueLayout.JAVA_BYTE), module + " " + part);
                }
            }
            assertEquals(format, other.quantization().orElseThrow().format());
            assertFalse(Files.exists(folder.resolve("other/quantize_config.json")));
            // Opening checks that every tensor is known.
            assertTrue(Transformer.open(other, device).spec().blocks() > 0);
        }
    }

    @Test
    void w8a8_says_how_activations_are_rounded_and_what_is_not_quantized() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        TinyRun run = run(model, 8, -1, true, ActOrder.NONE);
        run.format = CheckpointFormat.W8A8;
        run.run();

        JsonNode block = WrittenCheckpoint.read(run.output).json("config.json").get("quantization_config");
        assertEquals("int-quantized", block.get("format").asString());
        assertEquals("[\"lm_head\"]", block.get("ignore").toString());
        JsonNode inputs = block.get("config_groups").get("group_0").get("input_activations");
        assertEquals("token", inputs.get("strategy").asString());
        assertTrue(inputs.get("dynamic").asBoolean());
        assertTrue(run.log.stream().anyMatch(line -> line.contains("rounds activations to 8 bits")), run.log::toString);
    }

    private TinyRun run(Path model, int bits, int groupSize, boolean symmetric, ActOrder actOrder) {
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = actOrder == ActOrder.GROUP ? CalibratorKind.GPTQ : CalibratorKind.RTN;
        run.bits = bits;
        run.groupSize = groupSize;
        run.symmetric = symmetric;
        run.actOrder = actOrder;
        run.samples = 2;
        return run;
    }
}
