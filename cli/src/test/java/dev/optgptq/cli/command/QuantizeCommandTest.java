package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** One small GPTQ run, evaluated, and what it says and leaves. */
class QuantizeCommandTest {

    private static final Pattern DONE = Pattern.compile("^\\[[ \\d]+ %\\] ", Pattern.MULTILINE);

    @TempDir
    static Path directory;
    private static CommandRun run = new CommandRun(List.of(), -1, "", "");

    @BeforeAll
    static void quantize() {
        Path text = Models.text(directory);
        run = gptq("w4", "--eval", text, "--window", 64, "--json").succeeds();
    }

    private static CommandRun gptq(String output, Object... more) {
        List<Object> args = new ArrayList<>(List.of("quantize", Models.llama(), "--output",
                directory.resolve(output), "--samples", 4, "--sequence-length", 96, "--group-size", 64));
        args.addAll(List.of(more));
        return CommandRun.of(args.toArray());
    }

    @Test
    void quick_stands_for_gptq_with_scale_search_on_fewer_sequences_where_nothing_else_was_given() {
        JsonNode report = CommandRun.of("quantize", Models.llama(), "--quick", "--samples", 2, "--sequence-length", 64,
                "--eval", "none", "--output", directory.resolve("quick"), "--json").succeeds().json();
        assertEquals("gptq", report.at("/command/--calibrator").asString());
        assertEquals("true", report.at("/command/--scale-search").asString());
        assertEquals("2", report.at("/command/--samples").asString());
    }

    @Test
    void standard_output_with_json_is_the_report_and_nothing_else() throws IOException {
        JsonNode written = JsonMapper.shared()
                .readTree(Files.readString(directory.resolve("w4/report.json")));
        assertEquals(written, run.json());
    }

    @Test
    void the_report_holds_the_settings_and_which_were_taken_by_default() {
        assertEquals("64", run.json().at("/command/--group-size").asString());
        assertEquals("0.01", run.json().at("/command/--damp").asString());
        List<String> defaults = run.json().get("defaults").valueStream().map(JsonNode::asString).toList();
        assertTrue(defaults.contains("--damp"), defaults::toString);
        assertFalse(defaults.contains("--group-size"), defaults::toString);
    }

    @Test
    void every_default_of_the_report_is_one_of_its_settings() {
        List<String> settings = List.copyOf(run.json().get("command").propertyNames());
        run.json().get("defaults").valueStream().map(JsonNode::asString)
                .forEach(name -> assertTrue(settings.contains(name), () -> name + " is not in " + settings));
    }

    @Test
    void the_report_holds_every_layer_with_its_error() {
        assertEquals(28, run.json().get("layers").size());
        for (JsonNode layer : run.json().get("layers")) {
            double error = layer.get("relativeError").asDouble();
            assertTrue(error > 0 && error < 0.05, layer::toString);
            assertEquals(0.01, layer.get("damp").asDouble(), layer::toString);
        }
    }

    @Test
    void the_report_holds_perplexity_before_and_after_with_intervals() {
        for (String when : List.of("before", "after")) {
            JsonNode score = run.json().at("/quality/" + when);
            double perplexity = score.get("perplexity").asDouble();
            assertTrue(score.get("low").asDouble() < perplexity && perplexity < score.get("high").asDouble(),
                    score::toString);
        }
        assertEquals(64, run.json().at("/quality/window").asInt());
    }

    @Test
    void sizes_of_the_report_are_those_of_the_files() {
        CommandRun inspected = CommandRun.of("inspect", directory.resolve("w4"), "--json").succeeds();
        assertEquals(inspected.json().get("bytes").asLong(), run.json().at("/size/bytesAfter").asLong());
        assertEquals(16, run.json().at("/size/bitsBefore").asDouble());
        double bits = run.json().at("/size/bitsPerWeight").asDouble();
        // codes, a scale and a zero point per group of 64, and g_idx of 32 bits for 128 to 384 outputs
        assertTrue(bits > 4 + 20.0 / 64 + 32.0 / 384 && bits < 4 + 20.0 / 64 + 32.0 / 128, "bits " + bits);
    }

    @Test
    void progress_and_defaults_are_told_on_standard_error() {
        run.says("defaults: ", "--calibrator gradient", "--weigh-tokens", "--propagate-error",
                "--act-order none", "--damp 0.01", "memory: peak ");
        assertTrue(DONE.matcher(run.err()).find(), run::toString);
        assertFalse(run.err().contains("\u001B["), "escape sequences without a terminal");
    }

    @Test
    void inspect_tells_what_the_output_is() {
        CommandRun.of("inspect", directory.resolve("w4")).succeeds().prints("gptq, 4 bits, groups of 64, symmetric",
                "28 packed layers", "1.4 M (1,377,408)", "model.layers.*.mlp.down_proj.qweight");
    }

    @Test
    void any_number_of_threads_writes_the_same_bytes() throws IOException {
        gptq("again", "--eval", "none", "--threads", 1).succeeds();
        assertArrayEquals(Files.readAllBytes(directory.resolve("w4/model.safetensors")),
                Files.readAllBytes(directory.resolve("again/model.safetensors")));
    }

    @Test
    void an_mpt_without_evaluation_ends_with_a_summary_and_the_next_step() {
        CommandRun mpt = CommandRun.of("quantize", Models.mpt(), "--output", directory.resolve("mpt"), "--samples", 4,
                "--sequence-length", 96, "--eval", "none").succeeds();
        mpt.prints("wrote " + directory.resolve("mpt"), "bits per quantized weight, from 16",
                "not measured (--eval none)", "worst layers", "relative output error", "report.html",
                "Next: opt-gptq eval perplexity ");
        assertFalse(mpt.err().contains("--window"), "a default that nothing uses: " + mpt);
    }

    @Test
    void refinements_of_the_solution_are_in_the_report_and_lower_its_errors() {
        CommandRun polished = gptq("polished", "--calibrator", "gptq", "--refit-scales", "--coordinate-descent", 1,
                "--eval", "none", "--json").succeeds();
        CommandRun plain = gptq("plain", "--calibrator", "gptq", "--eval", "none", "--json").succeeds();
        assertEquals("true", polished.json().at("/command/--refit-scales").asString());
        assertEquals("1", polished.json().at("/command/--coordinate-descent").asString());
        for (int layer = 0; layer < 7; layer++) {
            String error = "/layers/" + layer + "/relativeError";
            assertTrue(polished.json().at(error).asDouble() < plain.json().at(error).asDouble(), "layer " + layer);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void whether_norms_are_learned_is_an_option_of_learning(boolean norms) {
        CommandRun tuned = CommandRun
                .of("quantize", Models.llama(), "--output", directory.resolve("norms " + norms), "--samples", 4,
                        "--sequence-length", 96, "--eval", "none", "--tune", 1,
                        norms ? "--tune-norms" : "--no-tune-norms", "--json")
                .succeeds();
        assertEquals(String.valueOf(norms), tuned.json().at("/command/--tune-norms").asString());
        assertEquals(norms ? "tuned scales and norms" : "tuned scales",
                tuned.json().at("/ablation/steps").valueStream().toList().getLast().get("name").asString());
    }

    @Test
    void rounding_to_nearest_does_not_speak_of_calibration() {
        CommandRun rtn = CommandRun.of("quantize", Models.llama(), "--output", directory.resolve("rtn"), "--calibrator",
                "rtn", "--eval", "none").succeeds().says("--bits 4", "--group-size 128");
        for (String unused : List.of("--damp", "--refit-scales", "--coordinate-descent", "--act-order", "--calibration",
                "--samples", "--seed")) {
            assertFalse(rtn.err().contains(unused), () -> unused + " in " + rtn);
        }
    }

    @Test
    void settings_that_some_runtimes_refuse_are_warned_about() {
        CommandRun
                .of("quantize", Models.llama(), "--output", directory.resolve("w3"), "--calibrator", "rtn", "--bits", 3,
                        "--eval", "none")
                .succeeds().says("vLLM loads GPTQ checkpoints only with 4 or 8 bits");
    }
}
