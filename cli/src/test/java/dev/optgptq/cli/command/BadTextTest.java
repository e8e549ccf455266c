package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Texts that cannot be used: exit code 1, the file named, and nothing written. */
class BadTextTest {

    @TempDir
    Path directory;

    @Test
    void calibration_text_that_is_too_short_is_counted() throws IOException {
        Path text = Files.writeString(directory.resolve("short.txt"), "Only a few words.");
        quantize("--calibration", text, "--samples", 4, "--sequence-length", 64, "--eval", "none").failsWith(1,
                "short.txt", "tokens", "64");
        assertEquals(List.of("short.txt"), Models.names(directory));
    }

    @Test
    void evaluation_text_that_is_too_short_is_found_before_anything_is_computed() throws IOException {
        Path text = Files.writeString(directory.resolve("short.txt"), "Only a few words.");
        quantize("--samples", 2, "--sequence-length", 32, "--eval", text, "--window", 512).failsWith(1, "short.txt",
                "tokens", "512");
        assertEquals(List.of("short.txt"), Models.names(directory));
    }

    @Test
    void a_text_that_is_not_there_is_named() {
        quantize("--calibration", directory.resolve("nowhere.txt")).failsWith(1, "nowhere.txt", "cannot read text");
        CommandRun.of("eval", "perplexity", Models.llama(), "--text", directory.resolve("nowhere.txt")).failsWith(1,
                "nowhere.txt", "cannot read text");
        assertEquals(List.of(), Models.names(directory));
    }

    @Test
    void a_text_that_is_no_text_is_refused_with_the_byte() throws IOException {
        Path text = Files.write(directory.resolve("image.txt"), new byte[] {'a', 'b', (byte) 0xFF, (byte) 0xD8});
        quantize("--calibration", text).failsWith(1, "image.txt", "not UTF-8 from byte 2", ".jsonl");
    }

    @Test
    void json_lines_without_text_are_refused_with_the_line() throws IOException {
        Path text = Files.writeString(directory.resolve("chat.jsonl"), "{\"text\": \"fine\"}\n{\"prompt\": \"no\"}\n");
        quantize("--calibration", text).failsWith(1, "chat.jsonl", "2", "text");
    }

    private CommandRun quantize(Object... more) {
        List<Object> args = new ArrayList<>(
                List.of("quantize", Models.llama(), "--output", directory.resolve("out")));
        args.addAll(List.of(more));
        return CommandRun.of(args.toArray());
    }
}
