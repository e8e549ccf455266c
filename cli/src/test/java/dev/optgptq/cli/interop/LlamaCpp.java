package dev.optgptq.cli.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * llama.cpp through the npm package node-llama-cpp, which brings it compiled: {@code npm install node-llama-cpp@3 --ignore-scripts},
 * and OPT_GPTQ_NODE_MODULES names the node_modules folder, as .ci/run does it. All jobs of a run go through one process.
 */
final class LlamaCpp {

    private static final JsonMapper JSON = JsonMapper.shared();

    private final Path folder;
    private final String modules;
    private final ArrayNode jobs = JSON.createArrayNode();

    /** Skips the test where the package is not. */
    LlamaCpp(Path folder) {
        String found = System.getenv("OPT_GPTQ_NODE_MODULES");
        assumeTrue(found != null, "OPT_GPTQ_NODE_MODULES names no folder with node-llama-cpp");
        this.folder = folder;
        this.modules = Objects.requireNonNull(found);
    }

    /** Probabilities of all tokens after each of these. */
    void predict(Path model, int[][] sequences, int vocabulary) {
        ObjectNode job = jobs.addObject().put("model", model.toString()).put("vocabulary", vocabulary);
        ArrayNode all = job.putArray("sequences");
        for (int[] ids : sequences) {
            ArrayNode one = all.addArray();
            for (int id : ids) {
                one.add(id);
            }
        }
    }

    /** The tokens of a text, and its perplexity over windows. */
    void read(Path model, String text, int window) {
        jobs.addObject().put("model", model.toString()).put("text", text).put("window", window);
    }

    /** What each job gave, in their order: {} or {tokens, perplexity}, or {error}. */
    List<JsonNode> run() throws IOException, InterruptedException {
        Path script = folder.resolve("llama.mjs");
        Path results = folder.resolve("results.json");
        try (InputStream in = LlamaCpp.class.getResourceAsStream("llama.mjs")) {
            Files.write(script, Objects.requireNonNull(in).readAllBytes());
        }
        Files.writeString(folder.resolve("jobs.json"), jobs.toString());
        Process process = new ProcessBuilder("node", script.toString(), modules,
                folder.resolve("jobs.json").toString(), results.toString()).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return JSON.readTree(results.toFile()).valueStream().toList();
    }

    /** Of a model that predict() was asked for: [sequences, length, vocabulary]. */
    static float[] probabilities(Path model) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Path.of(model + ".probabilities")))
                .order(ByteOrder.LITTLE_ENDIAN);
        float[] values = new float[bytes.remaining() / Float.BYTES];
        bytes.asFloatBuffer().get(values);
        return values;
    }
}
