package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.xml.sax.SAXException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class EvalPerplexityCommandTest {

    /** A llama rounded to 2 bits: its perplexity is far above the plain model's. */
    @TempDir
    static Path directory;
    private static Path text = Path.of("");
    private static Path damaged = Path.of("");

    @BeforeAll
    static void quantizeBadly() {
        text = Models.text(directory);
        damaged = directory.resolve("w2");
        CommandRun.of("quantize", Models.llama(), "--calibrator", "rtn", "--bits", 2, "--eval", "none", "--output",
                damaged).succeeds();
    }

    private static CommandRun perplexity(Path model, Object... more) {
        List<Object> args = new ArrayList<>(
                List.of("eval", "perplexity", model, "--text", text, "--window", 32));
        args.addAll(List.of(more));
        return CommandRun.of(args.toArray());
    }

    @Test
    void prints_perplexity_with_its_interval_and_what_it_was_measured_on() {
        perplexity(Models.llama()).succeeds().prints("text.txt", "windows of 32 tokens", "perplexity",
                "95 % interval", Models.llama().toString(), " .. ");
    }

    @Test
    void a_kept_threshold_exits_with_0_and_says_passed() {
        perplexity(Models.llama(), "--max-perplexity", 100_000).succeeds().prints("passed --max-perplexity");
    }

    @Test
    void a_missed_threshold_exits_with_3_and_says_so() {
        perplexity(Models.llama(), "--max-perplexity", 1.5).failsWith(3).prints("MISSED --max-perplexity",
                "at most 1.5 allowed");
    }

    @Test
    void a_relative_increase_over_the_baseline_is_held_to_its_limit() {
        perplexity(damaged, "--baseline", Models.llama(), "--max-increase", "2%").failsWith(3)
                .prints("MISSED --max-increase", "at most 2 % allowed", "paired over windows");
        perplexity(damaged, "--baseline", Models.llama(), "--max-increase", "100000000%").succeeds();
    }

    @Test
    void an_absolute_increase_over_the_baseline_is_held_to_its_limit() {
        perplexity(damaged, "--baseline", Models.llama(), "--max-increase", "0.5").failsWith(3)
                .prints("MISSED --max-increase", "at most 0.5 allowed");
    }

    @Test
    void a_model_is_no_worse_than_itself() {
        perplexity(Models.llama(), "--baseline", Models.llama(), "--max-increase", "0%").succeeds()
                .prints("increase +0.0000, +0.000 %", "no difference shown: +0.0000 nats per token", "p = 1.000",
                        "KL divergence 0 nats per token", "top-1 agreement 100.00 %");
    }

    @Test
    void a_damaged_model_is_shown_to_be_worse_and_how_far_its_predictions_went() {
        perplexity(damaged, "--baseline", Models.llama()).succeeds().prints("worse by ", "nats per token (95 % ",
                "p = 0.0", "KL divergence ", "median ", "99th percentile ", "top-1 agreement ");
    }

    @Test
    void divergence_is_held_to_its_limit() {
        perplexity(damaged, "--baseline", Models.llama(), "--max-kl", "0.001").failsWith(3)
                .prints("MISSED --max-kl: divergence ", "at most 0.001 allowed");
        perplexity(Models.llama(), "--baseline", Models.llama(), "--max-kl", "0").succeeds().prints("passed --max-kl");
    }

    @Test
    void agreement_is_held_to_its_limit() {
        perplexity(damaged, "--baseline", Models.llama(), "--min-top1", "99.5%").failsWith(3)
                .prints("MISSED --min-top1: agreement ", "at least 99.5 % required");
        perplexity(Models.llama(), "--baseline", Models.llama(), "--min-top1", "1").succeeds()
                .prints("passed --min-top1");
    }

    @ParameterizedTest
    @ValueSource(strings = {"NaN", "0", "-3", "Infinity"})
    void a_limit_that_says_nothing_is_refused(String limit) {
        perplexity(Models.llama(), "--max-perplexity", limit).failsWith(2, "--max-perplexity", "a perplexity");
    }

    @Test
    void json_on_standard_output_is_the_only_thing_there() {
        JsonNode json = perplexity(damaged, "--baseline", Models.llama(), "--max-increase", "2%", "--json", "-")
                .failsWith(3).json();
        assertEquals(1, json.get("schemaVersion").asInt());
        assertEquals(32, json.get("window").asInt());
        double before = json.at("/baseline/perplexity").asDouble();
        double after = json.at("/model/perplexity").asDouble();
        assertEquals(after / before - 1, json.at("/change/increase").asDouble(), 1e-9);
        assertEquals(Math.log(after / before), json.at("/difference/nats").asDouble(), 1e-9);
        assertTrue(json.at("/difference/shown").asBoolean());
        assertTrue(json.at("/divergence/kl").asDouble() > 0);
        assertFalse(json.at("/thresholds/0/passed").asBoolean());
        assertEquals(0.02, json.at("/thresholds/0/limit").asDouble());
    }

    @Test
    void json_and_junit_files_are_written_whatever_the_outcome() throws Exception {
        Path json = directory.resolve("results/ppl.json");
        Path junit = directory.resolve("results/ppl.xml");
        perplexity(damaged, "--baseline", Models.llama(), "--max-increase", "2%", "--max-perplexity", 1e9, "--max-kl",
                1e9, "--min-top1", "100%", "--json", json, "--junit", junit).failsWith(3)
                .prints("MISSED --max-increase");
        assertEquals(4, JsonMapper.shared().readTree(Files.readString(json)).get("thresholds").size());
        Element suite = parse(junit).getDocumentElement();
        assertEquals("testsuite", suite.getTagName());
        assertEquals("4", suite.getAttribute("tests"));
        assertEquals("2", suite.getAttribute("failures"));
        Element failure = (Element) suite.getElementsByTagName("failure").item(0);
        assertTrue(failure.getAttribute("message").startsWith("increase "), failure.getAttribute("message"));
        assertEquals("max-increase", ((Element) failure.getParentNode()).getAttribute("name"));
    }

    @Test
    void the_bundled_text_is_the_default() {
        CommandRun run = CommandRun.of("eval", "perplexity", Models.llama(), "--window", 2048, "--json", "-")
                .succeeds();
        assertEquals("bundled WikiText-2", run.json().get("text").asString());
    }

    @Test
    void models_that_cut_the_text_into_other_tokens_are_not_compared() throws IOException {
        Path other = Models.copy(Models.llama(), directory.resolve("other"));
        String tokenizer = Files.readString(other.resolve("tokenizer.json"));
        Files.writeString(other.resolve("tokenizer.json"),
                tokenizer.replaceFirst("(?s)\"merges\": *\\[.*?\\](?=\\s*\\})",
                        "\"merges\": []"));
        perplexity(damaged, "--baseline", other).failsWith(2, "--baseline", "other tokens");
    }

    @Test
    void an_unwritable_result_is_named_before_anything_is_computed() {
        CommandRun run = perplexity(Models.llama(), "--json", text.resolve("ppl.json")).failsWith(1, "ppl.json",
                "cannot be written");
        assertFalse(run.err().contains("%]"), run::toString);
    }

    @Test
    void a_full_disk_is_called_that() {
        Path full = Path.of("/dev/full");
        assumeTrue(Files.exists(full), "no /dev/full on this system");
        perplexity(Models.llama(), "--json", full).failsWith(1, "/dev/full cannot be written", "free space");
    }

    private static Document parse(Path file) throws ParserConfigurationException, IOException, SAXException {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file.toFile());
    }
}
