package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** A sound checkpoint, and one fault at a time. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class VerifyCommandTest {

    private Path folder = Path.of("");
    private Path sound = Path.of("");

    @BeforeAll
    void quantize(@TempDir Path shared) {
        folder = shared;
        sound = folder.resolve("sound");
        CommandRun.of("quantize", Models.llama(), "--output", sound, "--calibrator", "rtn", "--eval", "none",
                "--group-size",
                "32").succeeds();
    }

    @Test
    void a_sound_checkpoint_passes_every_check() {
        CommandRun.of("verify", sound, "--against", Models.llama()).succeeds().prints("passed  files",
                "passed  tensors",
                "passed  scales", "passed  weights: within 0.", "passed  forward pass: KL divergence");
        CommandRun.of("verify", sound).succeeds().prints("passed  forward pass: finite");
    }

    @Test
    void zero_points_of_the_other_version_are_named_and_exit_with_3() throws IOException {
        Path wrong = copy("wrong");
        replace(wrong.resolve("config.json"), "\"gptq\"", "\"gptq_v2\"", "checkpoint_format", "\"format\"");
        CommandRun.of("verify", wrong, "--json").failsWith(3).prints("\"passed\" : false", "\"tensors\"",
                "the checkpoint is gptq under the label gptq_v2");
    }

    @Test
    void a_shard_that_was_cut_off_is_named() throws IOException {
        Path cut = copy("cut");
        byte[] bytes = Files.readAllBytes(cut.resolve("model.safetensors"));
        Files.write(cut.resolve("model.safetensors"), Arrays.copyOf(bytes, bytes.length - 100));
        CommandRun.of("verify", cut).failsWith(3).prints("MISSED  files", "model.safetensors");
    }

    @Test
    void codes_of_other_weights_miss() throws IOException {
        Path other = copy("other");
        byte[] bytes = Files.readAllBytes(other.resolve("model.safetensors"));
        String header = new String(bytes, 8, (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0),
                StandardCharsets.UTF_8);
        Matcher place = Pattern
                .compile("\"model.layers.0.mlp.up_proj.qweight\":\\{[^}]*\"data_offsets\":\\[(\\d+),(\\d+)]")
                .matcher(header);
        assertTrue(place.find(), header);
        int from = 8 + header.length() + Integer.parseInt(place.group(1));
        int to = 8 + header.length() + Integer.parseInt(place.group(2));
        for (int i = from; i < to; i++) {
            bytes[i] ^= (byte) 0x55;
        }
        Files.write(other.resolve("model.safetensors"), bytes);
        CommandRun.of("verify", other, "--against", Models.llama()).failsWith(3).prints(
                "MISSED  weights: model.layers.0.mlp.up_proj",
                "within a step");
    }

    private Path copy(String name) throws IOException {
        Path copy = Files.createDirectory(folder.resolve(name));
        try (var files = Files.list(sound)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, copy.resolve(file.getFileName().toString()));
            }
        }
        return copy;
    }

    /** In every line that names one of the keys. */
    private static void replace(Path file, String from, String to, String... keys) throws IOException {
        StringBuilder text = new StringBuilder();
        for (String line : Files.readAllLines(file)) {
            boolean named = Arrays.stream(keys).anyMatch(line::contains);
            text.append(named ? line.replace(from, to) : line).append('\n');
        }
        Files.writeString(file, text);
    }
}
