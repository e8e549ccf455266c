package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Settings that cannot be: exit code 2, what was expected, what was found, and nothing written. */
class UsageErrorsTest {

    @TempDir
    Path directory;

    static Stream<Arguments> badSettings() {
        return Stream.of(
                arguments("--bits 5", List.of("--bits", "2, 3, 4, 8", "5")),
                arguments("--bits four", List.of("--bits", "four")),
                arguments("--group-size 0", List.of("--group-size", "-1 for all", "0")),
                arguments("--group-size -2", List.of("--group-size", "-2")),
                arguments("--group-size 96",
                        List.of("group size", "divides", "128 inputs", "96",
                                "use 128, which divides all layers' inputs")),
                arguments("--group-size 256", List.of("128 inputs", "256", "use 128, which divides all")),
                arguments("--no-symmetric --format gptq", List.of("--no-symmetric", "--format gptq_v2")),
                arguments("--format exl2", List.of("--format", "gptq, gptq_v2", "exl2")),
                arguments("--calibrator awq", List.of("--calibrator", "rtn, gptq", "awq")),
                arguments("--act-order sorted", List.of("--act-order", "none, static, group", "sorted")),
                arguments("--scale-search --calibrator rtn", List.of("--scale-search", "gptq or gradient")),
                arguments("--scale-search --clip-search", List.of("--clip-search", "--scale-search")),
                arguments("--coordinate-descent 1 --calibrator rtn",
                        List.of("--coordinate-descent", "gptq or gradient")),
                arguments("--refit-scales --calibrator rtn", List.of("--refit-scales", "gptq or gradient")),
                arguments("--coordinate-descent 2 --calibrator rtn",
                        List.of("--coordinate-descent", "gptq or gradient")),
                arguments("--coordinate-descent -1", List.of("--coordinate-descent", "at least 0", "-1")),
                arguments("--coordinate-descent", List.of("--coordinate-descent")),
                arguments("--calibrator gptq --tune 100",
                        List.of("--tune", "--calibrator gradient", "--calibrator gptq")),
                arguments("--calibrator gptq --fisher sampled", List.of("--fisher", "--calibrator gradient")),
                arguments("--calibrator gptq --no-weigh-tokens", List.of("--weigh-tokens", "--calibrator gradient")),
                arguments("--calibrator rtn --no-propagate-error", List.of("--propagate-error", "--calibrator rtn")),
                arguments("--no-weigh-tokens --fisher sampled", List.of("--fisher", "--no-weigh-tokens")),
                arguments("--calibrator rtn --damp 0.1", List.of("--damp", "gptq or gradient", "--calibrator rtn")),
                arguments("--calibrator rtn --act-order none", List.of("--act-order", "gptq or gradient")),
                arguments("--calibrator rtn --true-sequential", List.of("--true-sequential", "gptq or gradient")),
                arguments("--quick --calibrator gradient",
                        List.of("--quick", "--calibrator gptq", "--calibrator gradient")),
                arguments("--true-sequential", List.of("--true-sequential", "--calibrator gptq")),
                arguments("--clip-search", List.of("--clip-search", "--calibrator gptq")),
                arguments("--tune -1", List.of("--tune", "-1")),
                arguments("--tune-norms", List.of("--tune-norms", "--tune 100", "--tune 0")),
                arguments("--fisher true", List.of("--fisher", "empirical, sampled", "true")),
                arguments("--clip-search --calibrator gradient", List.of("--clip-search", "--calibrator gradient")),
                arguments("--damp -0.1", List.of("--damp", "-0.1")),
                arguments("--damp NaN", List.of("--damp", "NaN")),
                arguments("--damp 1", List.of("--damp", "1.0")),
                arguments("--sampling first", List.of("--sampling", "sequential, random", "first")),
                arguments("--samples 0", List.of("--samples", "at least 1", "0")),
                arguments("--sequence-length 0", List.of("--sequence-length", "at least 2", "0")),
                arguments("--sequence-length 1", List.of("--sequence-length", "at least 2", "1")),
                arguments("--sequence-length 4096", List.of("--sequence-length", "4096", "2048")),
                arguments("--window 1", List.of("--window", "at least 2", "1")),
                arguments("--window 4096", List.of("--window", "2 to 2048", "4096")),
                arguments("--threads 0", List.of("--threads", "1 to 1024", "0")),
                arguments("--threads 5000", List.of("--threads", "1 to 1024", "5000")),
                arguments("--device tpu", List.of("device", "cuda:N, cpu or reference", "tpu")),
                arguments("--seed x", List.of("--seed", "x")),
                arguments("--bit 4", List.of("--bit")),
                arguments("--samples", List.of("--samples")),
                arguments("another-model", List.of("another-model")));
    }

    @ParameterizedTest(name = "quantize {0}")
    @MethodSource("badSettings")
    void quantize_refuses(String options, List<String> parts) {
        Path output = directory.resolve("out");
        Object[] args = Stream.concat(Stream.of("quantize", Models.llama(), "--output", output),
                Stream.of(options.split(" "))).toArray();
        CommandRun.of(args).failsWith(2, parts.toArray(String[]::new));
        assertEquals(List.of(), Models.names(directory));
    }

    static Stream<Arguments> badCommandLines() {
        return Stream.of(
                arguments(List.of("quantise"), List.of("quantise", "quantize")),
                arguments(List.of("quantize"), List.of("MODEL_DIR", "opt-gptq quantize --help")),
                arguments(List.of("eval"), List.of("eval perplexity", "eval logits")),
                arguments(List.of("eval", "accuracy"), List.of("accuracy")),
                arguments(List.of("inspect"), List.of("MODEL_DIR", "opt-gptq inspect --help")),
                arguments(List.of("bench"), List.of("REPORT_JSON", "opt-gptq bench --help")),
                arguments(List.of("eval", "logits", Models.llama()), List.of("--input", "--output")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--max-increase", "2%"),
                        List.of("--max-increase", "--baseline")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--baseline", Models.llama(), "--max-increase",
                        "much"), List.of("--max-increase", "2%", "much")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--max-kl", "0.05"),
                        List.of("--max-kl", "--baseline")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--min-top1", "99%"),
                        List.of("--min-top1", "--baseline")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--baseline", Models.llama(), "--max-kl",
                        "-0.1"), List.of("--max-kl", "nats", "-0.1")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--baseline", Models.llama(), "--min-top1",
                        "99"), List.of("--min-top1", "98% or 0.98", "99")),
                arguments(List.of("eval", "perplexity", Models.llama(), "--window", "1"),
                        List.of("--window", "2 to 2048", "1")),
                arguments(List.of("bench", "report.json", "--samples", "4"), List.of("--samples", "--shape")),
                arguments(List.of("--quiet"), List.of("--quiet")));
    }

    @ParameterizedTest(name = "opt-gptq {0}")
    @MethodSource("badCommandLines")
    void a_command_line_that_says_too_little_or_too_much_is_refused(List<Object> args, List<String> parts) {
        CommandRun run = CommandRun.of(args.toArray()).failsWith(2, parts.toArray(String[]::new));
        assertEquals("", run.out());
    }

    @Test
    void a_misspelt_option_is_met_with_the_right_one() {
        CommandRun.of("quantize", Models.llama(), "--group-sise", "64").failsWith(2, "--group-sise", "--group-size");
    }

    @Test
    void a_stack_trace_appears_only_when_asked_for() {
        CommandRun run = CommandRun.of("inspect", directory.resolve("missing"), "--verbose");
        assertEquals(1, run.exitCode());
        run.says("\tat dev.optgptq.");
    }

    @Test
    void with_json_the_failure_is_json_too() {
        CommandRun run = CommandRun.of("quantize", Models.llama(), "--output", directory.resolve("out"), "--bits", "5",
                "--json").failsWith(2, "--bits");
        assertEquals("BAD_SETTING", run.json().at("/error/code").asString());
        assertEquals("--bits: expected one of 2, 3, 4, 8, found 5", run.json().at("/error/message").asString());
    }
}
