package dev.optgptq.cli.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * GGUF files in llama.cpp itself, through the npm package node-llama-cpp, which brings it compiled:
 * {@code npm install node-llama-cpp@3 --ignore-scripts}, and OPT_GPTQ_NODE_MODULES names the node_modules folder.
 */
class LlamaCppTest {

    private static final int WINDOW = 128;
    /** llama.cpp rounds activations to 8 bits before it multiplies by blocks, and sums in another order. */
    private static final double SHARE = 0.001;

    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({"llama", "mpt"})
    void a_plain_model_has_the_same_tokens_and_perplexity(String family) throws Exception {
        assertSamePerplexity(family.equals("llama") ? Models.llama() : Models.mpt());
    }

    @Test
    void a_quantized_model_has_the_same_perplexity() throws Exception {
        Path quantized = folder.resolve("w4");
        CommandRun.of("quantize", Models.llama(), "--calibrator", "rtn", "--bits", 4, "--group-size", 32, "--eval",
                "none",
                "--output", quantized).succeeds();
        assertSamePerplexity(quantized);
    }

    private void assertSamePerplexity(Path model) throws Exception {
        Path modules = modules();
        Path text = Models.text(folder);
        Path file = folder.resolve("model.gguf");
        CommandRun.of("export", "gguf", model, "--output", file).succeeds();
        JsonNode ours = CommandRun.of("eval", "perplexity", model, "--text", text, "--window", WINDOW, "--json", "-")
                .succeeds().json();
        JsonNode theirs = run(modules, file, text);
        double expected = ours.findValue("perplexity").doubleValue();
        assertEquals(expected, theirs.path("perplexity").doubleValue(), SHARE * expected, () -> ours + "\n" + theirs);
    }

    private static Path modules() {
        String modules = System.getenv("OPT_GPTQ_NODE_MODULES");
        assumeTrue(modules != null, "OPT_GPTQ_NODE_MODULES names no folder with node-llama-cpp");
        return Path.of(Objects.requireNonNull(modules));
    }

    private JsonNode run(Path modules, Path model, Path text) throws IOException, InterruptedException {
        Path script = folder.resolve("perplexity.mjs");
        try (InputStream in = LlamaCppTest.class.getResourceAsStream("perplexity.mjs")) {
            Files.copy(Objects.requireNonNull(in), script, StandardCopyOption.REPLACE_EXISTING);
        }
        Process process = new ProcessBuilder("node", script.toString(), modules.toString(), model.toString(),
                text.toString(), String.valueOf(WINDOW)).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return JsonMapper.shared().readTree(output.substring(output.lastIndexOf("{\"tokens\"")));
    }
}
