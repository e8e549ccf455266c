package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BenchCommandTest {

    @TempDir
    Path directory;

    @Test
    void every_phase_is_held_against_the_rate_measured_now() {
        CommandRun.of("quantize", Models.llama(), "--output", directory.resolve("w4"), "--samples", 2,
                "--sequence-length", 64, "--eval", "none").succeeds();
        CommandRun.of("bench", directory.resolve("w4/report.json")).succeeds().prints("sgemm 2048 x 2048 x 2048",
                "GFLOP/s", "times floor", "forward", "hessian", "solve", "quantize in all");
    }

    @Test
    void a_report_that_is_not_there_is_named() {
        CommandRun.of("bench", directory.resolve("report.json")).failsWith(1, "report.json", "the file is missing");
    }

    @Test
    void a_file_that_is_no_report_is_refused() throws IOException {
        Path file = directory.resolve("report.json");
        Files.writeString(file, "<html>");
        CommandRun.of("bench", file).failsWith(1, "report.json", "expected valid JSON");
        Files.writeString(file, "{\"phases\": 3}");
        CommandRun run = CommandRun.of("bench", file).failsWith(1, "is not a report of opt-gptq quantize");
        assertEquals("", run.out());
    }
}
