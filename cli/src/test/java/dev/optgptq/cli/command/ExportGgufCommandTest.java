package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ExportGgufCommandTest {

    @TempDir
    Path folder;

    @Test
    void a_model_becomes_one_file() throws IOException {
        Path file = folder.resolve("new/model.gguf");
        CommandRun.of("export", "gguf", Models.mpt(), "--output", file).succeeds().says("wrote " + file, "mpt");
        try (var in = Files.newInputStream(file)) {
            assertEquals("GGUF", new String(in.readNBytes(4), StandardCharsets.US_ASCII));
        }
    }

    @Test
    void a_file_that_is_there_is_left_alone_without_overwrite() throws IOException {
        Path file = Files.writeString(folder.resolve("model.gguf"), "mine");
        CommandRun.of("export", "gguf", Models.llama(), "--output", file).failsWith(1, "model.gguf", "--overwrite");
        assertEquals("mine", Files.readString(file));
        CommandRun.of("export", "gguf", Models.llama(), "--output", file, "--overwrite").succeeds();
        assertTrue(Files.size(file) > 1000);
    }

    @Test
    void a_directory_is_never_replaced() {
        CommandRun.of("export", "gguf", Models.llama(), "--output", folder, "--overwrite").failsWith(1, "not a file");
    }

    @Test
    void export_alone_says_what_is_missing() {
        CommandRun.of("export").failsWith(2, "export gguf");
    }
}
