package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** One checkpoint, and what becomes of it in other formats. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ExportFormatCommandTest {

    private static final String LAYER = "model.layers.0.mlp.up_proj";

    private Path folder = Path.of("");
    private Path gptq = Path.of("");

    @BeforeAll
    void quantize(@TempDir Path shared) {
        folder = shared;
        gptq = folder.resolve("gptq");
        CommandRun.of("quantize", Models.llama(), "--output", gptq, "--calibrator", "rtn", "--eval", "none",
                "--group-size",
                "32").succeeds();
    }

    @Test
    void a_checkpoint_comes_back_from_every_format_with_the_tensors_it_had() {
        for (String format : new String[] {"gptq_v2", "compressed-tensors", "awq", "mlx"}) {
            Path other = folder.resolve(format);
            Path back = folder.resolve(format + "-back");
            CommandRun.of("export", format, gptq, "--output", other).succeeds().says("gptq to " + format,
                    "scale for scale");
            CommandRun.of("export", "gptq", other, "--output", back).succeeds().says(format + " to gptq");
            try (ModelDirectory first = ModelDirectory.open(gptq); ModelDirectory again = ModelDirectory.open(back)) {
                assertEquals(first.tensors().keySet(), again.tensors().keySet(), format);
                first.tensors()
                        .forEach((name, view) -> assertEquals(-1, view.data().mismatch(again.tensor(name).data()),
                                format + ", " + name));
            }
            assertTrue(Files.exists(other.resolve("tokenizer.json")), format);
            try (ModelDirectory written = ModelDirectory.open(other);
                    ModelDirectory source = ModelDirectory.open(gptq)) {
                assertEquals(format, written.quantization().orElseThrow().format().label());
                assertTrue(Arrays.equals(
                        source.packed(LAYER).orElseThrow().part(PackedPart.CODES).toArray(ValueLayout.JAVA_BYTE),
                        written.packed(LAYER).orElseThrow().part(PackedPart.CODES).toArray(ValueLayout.JAVA_BYTE)),
                        format);
            }
        }
    }

    @Test
    void every_command_takes_any_of_them() {
        Path other = folder.resolve("ct");
        CommandRun
                .of("quantize", Models.llama(), "--output", other, "--calibrator", "rtn", "--eval", "none",
                        "--group-size",
                        "32", "--format", "compressed-tensors", "--target", "vllm")
                .succeeds().says("Machete on sm90, else Marlin");
        CommandRun.of("inspect", other).succeeds().prints("compressed-tensors", "28 packed layers");
        String gguf = "export gguf of " + other;
        CommandRun.of("export", "gguf", other, "--output", folder.resolve("ct.gguf")).succeeds();
        CommandRun.of("export", "gguf", gptq, "--output", folder.resolve("gptq.gguf")).succeeds();
        try {
            // The name of the directory stands in the header; what follows is the same.
            byte[] one = Files.readAllBytes(folder.resolve("ct.gguf"));
            byte[] two = Files.readAllBytes(folder.resolve("gptq.gguf"));
            int tail = Math.min(one.length, two.length) * 9 / 10;
            assertTrue(Arrays.equals(one, one.length - tail, one.length, two, two.length - tail, two.length), gguf);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void biases_of_asymmetric_grids_are_rounded_and_zero_points_come_back() {
        Path asymmetric = folder.resolve("asymmetric");
        Path mlx = folder.resolve("asymmetric-mlx");
        Path back = folder.resolve("asymmetric-back");
        CommandRun.of("quantize", Models.llama(), "--output", asymmetric, "--calibrator", "rtn", "--eval", "none",
                "--group-size", "32", "--no-symmetric").succeeds();
        CommandRun.of("export", "mlx", asymmetric, "--output", mlx).succeeds().says("biases rounded, by up to 0.00");
        CommandRun.of("export", "gptq_v2", mlx, "--output", back).succeeds().says("biases rounded, by up to 0.00");
        try (ModelDirectory first = ModelDirectory.open(asymmetric); ModelDirectory again = ModelDirectory.open(back)) {
            first.tensors().forEach((name, view) -> assertEquals(-1, view.data().mismatch(again.tensor(name).data()),
                    name));
            assertFalse(again.config().has("quantization"));
        }
        CommandRun.of("quantize", Models.llama(), "--output", folder.resolve("no"), "--calibrator", "rtn", "--eval",
                "none", "--group-size", "32", "--no-symmetric", "--format", "mlx")
                .failsWith(2, "--format mlx: expected symmetric grids", "export mlx");
    }

    @Test
    void mlx_is_written_as_mlx_lm_reads_it_and_read_by_every_command() throws IOException {
        Path mlx = folder.resolve("quantized-mlx");
        CommandRun.of("quantize", Models.llama(), "--output", mlx, "--calibrator", "rtn", "--eval", "none",
                "--group-size", "32", "--format", "mlx", "--target", "mlx").succeeds().says("quantized_matmul");
        try (ModelDirectory written = ModelDirectory.open(mlx);
                SafetensorsFile file = SafetensorsFile.open(mlx.resolve("model.safetensors"))) {
            assertEquals(Map.of("format", "mlx"), file.metadata());
            for (String key : new String[] {"quantization", "quantization_config"}) {
                assertEquals("{\"group_size\":32,\"bits\":4}", written.config().at(key).toString());
            }
            assertEquals(DType.U32, written.tensor(LAYER + ".weight").dtype());
        }
        CommandRun.of("inspect", mlx).succeeds().prints("mlx", "28 packed layers");
        CommandRun.of("verify", mlx, "--against", Models.llama()).succeeds();
        CommandRun.of("export", "gguf", mlx, "--output", folder.resolve("mlx.gguf")).succeeds();
    }

    @Test
    void what_a_format_cannot_hold_is_refused() {
        CommandRun.of("export", "w8a8", gptq, "--output", folder.resolve("w8a8")).failsWith(1,
                "cannot go over code for code",
                "expected 8 bits");
        assertTrue(Files.notExists(folder.resolve("w8a8")));
    }

    @Test
    void a_plain_model_is_not_exported() {
        CommandRun.of("export", "awq", Models.llama(), "--output", folder.resolve("plain")).failsWith(1,
                "found a plain model",
                "quantize --format awq");
    }
}
