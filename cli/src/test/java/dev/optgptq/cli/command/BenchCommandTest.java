package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class BenchCommandTest {

    @TempDir
    Path directory;

    @Test
    void every_phase_is_held_against_the_rate_measured_now() {
        CommandRun.of("quantize", Models.llama(), "--output", directory.resolve("w4"), "--samples", 2,
                "--sequence-length", 64, "--eval", "none").succeeds();
        CommandRun.of("bench", directory.resolve("w4/report.json")).succeeds().prints("sgemm 2048 x 2048 x 2048",
                "GFLOP/s", "times floor", "forward", "hessian", "solve", "quantize, total");
    }

    @Test
    void a_shape_is_measured_without_a_model() throws IOException {
        Path json = directory.resolve("bench.json");

        CommandRun.of("bench", "--shape", "tiny", "--samples", 2, "--sequence-length", 32, "--device", "cpu", "--json",
                json).succeeds().prints("tiny on cpu", "TFLOP/s", "copy", "linear", "accumulateGram", "inverseFactor",
                        "% of limit", "forward", "hessian", "solve", "on the device");

        JsonNode report = JsonMapper.shared().readTree(Files.readString(json));
        assertEquals("tiny", report.path("shape").asString());
        assertEquals("F32", report.path("products").asString());
        assertTrue(report.path("rates").path("float32").asDouble() > 0, report::toString);
        for (String list : new String[] {"ops", "job"}) {
            report.path(list).forEach(entry -> assertTrue(entry.path("seconds").asDouble() > 0, entry::toString));
        }
    }

    @Test
    void the_job_of_a_shape_is_that_of_the_calibrator_that_was_named() throws IOException {
        Path json = directory.resolve("bench.json");

        CommandRun.of("bench", "--shape", "tiny", "--calibrator", "gradient", "--samples", 8, "--sequence-length", 32,
                "--device", "cpu", "--json", json).succeeds().prints("gradients", "solve variants", "validate");

        assertEquals("gradient", JsonMapper.shared().readTree(Files.readString(json)).path("calibrator").asString());
    }

    @Test
    void a_shape_of_ones_own_is_a_config_file() {
        CommandRun
                .of("bench", "--shape", Models.llama().resolve("config.json"), "--samples", 1, "--sequence-length", 32,
                        "--device", "cpu")
                .succeeds().prints("config.json on cpu");
    }

    @Test
    void a_job_is_planned_without_running_it() throws IOException {
        Path json = directory.resolve("plan.json");
        CommandRun.of("bench", "--shape", "llama-405b", "--plan", "--nodes", 4, "--cards", 8, "--json", json).succeeds()
                .prints("planned, not measured: llama-405b, 405.8 G parameters", "4 x 8 cards", "NVIDIA H200", "solve",
                        "sums between nodes", "on each card");
        JsonNode plan = JsonMapper.shared().readTree(Files.readString(json));
        assertEquals(8, plan.get("busy").asInt());
        double sum = 0;
        for (JsonNode phase : plan.get("phases")) {
            sum += phase.get("seconds").asDouble();
        }
        assertEquals(sum, plan.get("seconds").asDouble(), 1e-6 * sum);
    }

    @Test
    void what_a_plan_cannot_use_is_refused() throws IOException {
        CommandRun.of("bench", "--shape", "tiny", "--nodes", 2).failsWith(2, "--nodes", "no --plan");
        CommandRun.of("bench", "--shape", "tiny", "--plan", "--device", "cpu").failsWith(2, "--device", "--plan");
        CommandRun.of("bench", "--shape", "tiny", "--plan", "--cards", 0).failsWith(2, "--cards", "1 to 64");
        CommandRun.of("bench", "--shape", "tiny", "--plan", "--samples", 10_000_000).failsWith(2, "--samples",
                "tokens in all sequences");
        Path other = Files.writeString(directory.resolve("other.json"), "{\"job\": [], \"products\": \"X\"}");
        CommandRun.of("bench", "--shape", "tiny", "--plan", "--rates", other).failsWith(1, "other.json",
                "expected what opt-gptq bench");
    }

    @Test
    void an_unknown_shape_is_refused_with_those_there_are() {
        CommandRun.of("bench", "--shape", "llama-8b").failsWith(2, "tiny, tinyllama, llama-7b", "config.json",
                "llama-8b");
    }

    @Test
    void halves_are_refused_on_a_processor_that_gains_nothing_from_them() {
        try (Device cpu = Devices.open("cpu", 1)) {
            assumeTrue(cpu.halves(DType.BF16) == Device.Halves.WIDENED, "this CPU multiplies bfloat16");
        }
        CommandRun.of("bench", "--shape", "tiny", "--samples", 1, "--sequence-length", 32, "--device", "cpu",
                "--precision", "half").failsWith(2, "--precision half", "float32 only");
    }

    @Test
    void a_report_and_a_shape_are_not_measured_at_once() {
        CommandRun.of("bench", directory.resolve("report.json"), "--shape", "tiny").failsWith(2, "not both");
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
