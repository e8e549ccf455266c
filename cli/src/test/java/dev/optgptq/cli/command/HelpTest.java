package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HelpTest {

    private static final int WIDTH = 100;

    @Test
    void no_command_at_all_shows_what_there_is() {
        CommandRun.of().succeeds().prints("quantize", "convert-gqa", "eval", "inspect", "devices", "bench",
                "completion",
                "Quantize the sample model",
                "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a threshold was missed.");
    }

    @Test
    void help_of_quantize_names_every_option() {
        CommandRun.of("quantize", "--help").succeeds().prints("MODEL_DIR", "--output", "--calibrator", "--bits",
                "--group-size", "--[no-]symmetric", "--act-order", "--tune", "--[no-]tune-norms", "--fisher", "--damp",
                "--true-sequential",
                "--calibration",
                "--sampling", "--samples", "--sequence-length", "--seed", "--format", "--device", "--threads", "--eval",
                "--window", "--report", "--overwrite", "--json", "--verbose", "--clip-search", "--scale-search",
                "--refit-scales", "--coordinate-descent");
    }

    @Test
    void help_of_quantize_teaches_by_examples_defaults_and_costs() {
        CommandRun.of("quantize", "--help").succeeds().prints("Examples:", "Default: 128", "Default: 0.01",
                "Time: about seven forward passes", "Exit codes: 0 done, 1 failed, 2 wrong usage.");
    }

    @Test
    void help_of_convert_gqa_names_every_option() {
        CommandRun.of("convert-gqa", "--help").succeeds().prints("MODEL_DIR", "--output", "--kv-heads", "--ratio",
                "--heal", "--text", "--heal-scope",
                "--heal-rate", "--weight-decay", "--heal-batch", "--heal-length",
                "--calibration", "--samples", "--sequence-length", "--eval", "--window", "--device", "--threads",
                "--overwrite", "--fresh", "--report", "--json", "Examples:");
    }

    @Test
    void help_of_eval_perplexity_names_every_option() {
        CommandRun.of("eval", "perplexity", "--help").succeeds().prints("MODEL_DIR", "--text", "--window", "--baseline",
                "--max-perplexity", "--max-increase", "--max-kl", "--min-top1", "--json", "--junit", "--device",
                "--threads", "Examples:",
                "3 a threshold was missed");
    }

    @Test
    void help_of_eval_logits_names_the_tensors() {
        CommandRun.of("eval", "logits", "--help").succeeds().prints("--input", "--output", "input_ids", "logits",
                "[batch, length]");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "quantize", "convert-gqa", "eval", "eval perplexity", "eval logits", "export",
            "export gguf",
            "inspect", "devices", "bench",
            "completion"})
    void help_fits_a_terminal_and_says_nothing_on_standard_error(String command) {
        List<String> words = command.isEmpty() ? List.of() : List.of(command.split(" "));
        CommandRun run = CommandRun.of(Stream.concat(words.stream(), List.of("--help").stream())
                .toArray()).succeeds();
        assertEquals("", run.err());
        run.out().lines().forEach(line -> assertTrue(line.length() <= WIDTH, line));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "quantize", "convert-gqa", "eval", "inspect", "devices", "bench", "completion"})
    void every_command_knows_its_version(String command) {
        CommandRun run = command.isEmpty() ? CommandRun.of("--version") : CommandRun.of(command, "--version");
        run.succeeds().prints("opt-gptq ", "Java ");
    }

    @Test
    void completion_knows_commands_and_options() {
        CommandRun.of("completion").succeeds().prints("complete ", "quantize", "perplexity", "--act-order",
                "static");
    }

    @Test
    void devices_says_what_can_compute_and_why_the_rest_cannot() {
        CommandRun.of("devices").succeeds().prints("cpu ", "reference", "OpenBLAS", "hip", "cuda", "self-test passed",
                "auto is ");
    }
}
