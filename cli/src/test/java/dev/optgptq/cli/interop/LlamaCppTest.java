package dev.optgptq.cli.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.testing.GgufFile;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import tools.jackson.databind.JsonNode;

/** GGUF files in llama.cpp itself, all in one process of it: a random model of every architecture, and the trained samples. */
@TestInstance(Lifecycle.PER_CLASS)
class LlamaCppTest {

    static final List<String> MODELS = List.of("llama", "llama-yarn", "mistral", "mixtral", "qwen2", "qwen3",
            "qwen2-moe", "qwen3-moe", "mpt", "bloom", "gpt2", "gpt-neox", "falcon", "falcon-multi-query", "gemma2",
            "gemma3", "phi2", "phi_3", "phi_3-longrope", "starcoder2", "olmo2", "granite", "stablelm",
            "stablelm-parallel", "cohere2", "glm4", "exaone4", "smollm3", "seed-oss", "internlm2", "baichuan",
            "ernie4_5", "olmoe", "granitemoe", "glm4-moe", "deepseek-v2", "deepseek-v2-lite", "deepseek-v3");
    /** Those whose rows have another order in the file, or whose matrices are fused, turned round or one tensor together. */
    static final List<String> QUANTIZED = List.of("llama", "mixtral", "mpt", "bloom", "gpt2", "gpt-neox", "falcon",
            "gemma2", "phi_3", "qwen2-moe", "internlm2", "granitemoe", "deepseek-v3");
    /** With a space before a text, and without. */
    static final List<String> SENTENCE_PIECES = List.of("mistral", "gemma2");
    private static final String SENTENCE = "the rain in  spain is on the station, anna's caf\u00e9\n 12 \u4f60";
    private static final int VOCABULARY = 288;
    private static final int LENGTH = 24;
    private static final int SEQUENCES = 4;
    private static final int WINDOW = 128;
    /** In nats. */
    private static final double DIVERGENCE = 5e-3;
    /** Of the largest logit. */
    private static final double LOGITS = 2e-3;
    /** The same after 26 blocks of latent attention, each of which rounds its inputs to float16 five times: llama.cpp takes no fewer. */
    private static final double DEEP_LOGITS = 4e-3;
    /** llama.cpp rounds activations to 8 bits before it multiplies by blocks, and sums in another order. */
    private static final double PERPLEXITY = 0.001;

    @TempDir
    static Path folder = Path.of("");
    private final int[][] ids = new int[SEQUENCES][LENGTH];
    private List<Path> trained = List.of();
    private final Map<Path, JsonNode> results = new LinkedHashMap<>();

    @BeforeAll
    void run_everything_in_one_process() throws IOException, InterruptedException {
        LlamaCpp llama = new LlamaCpp(folder);
        List<Path> files = new ArrayList<>();
        Path byLayer = folder.resolve("wiki-tiny-llama-by-layer");
        trained = List.of(Models.mpt(), folder.resolve("wiki-tiny-llama-w4"), grouped("wiki-tiny-mpt"), byLayer);
        Random random = new Random(7);
        for (int[] sequence : ids) {
            Arrays.setAll(sequence, i -> random.nextInt(2, VOCABULARY));
        }
        writeIds();
        for (String name : MODELS) {
            Path model = RandomModel.write(name, folder.resolve(name), seed(name));
            files.add(export(model));
            if (QUANTIZED.contains(name)) {
                quantize(model, quantized(model));
                files.add(export(quantized(model)));
                files.add(decoded(quantized(model)));
                GgufFile.read(gguf(quantized(model))).writeDecoded(files.getLast());
            }
        }
        convert(folder.resolve("bloom"), grouped("bloom"), "--ratio", 2, "--layout", "mpt");
        files.add(export(grouped("bloom")));
        files.forEach(file -> llama.predict(file, ids, VOCABULARY));
        writePieces(llama, files);
        quantize(Models.llama(), folder.resolve("wiki-tiny-llama-w4"));
        convert(Models.mpt(), grouped("wiki-tiny-mpt"), "--ratio", 2);
        convert(Models.llama(), byLayer, "--kv-bytes", "60%");
        for (Path model : trained) {
            files.add(trainedFile(model));
            CommandRun.of("export", "gguf", model, "--output", files.getLast()).succeeds();
            llama.read(files.getLast(), Files.readString(Models.text(folder)), WINDOW);
        }
        List<JsonNode> found = llama.run();
        IntStream.range(0, files.size()).forEach(i -> results.put(files.get(i), found.get(i)));
    }

    /** The same random models with SentencePiece's BPE. */
    private void writePieces(LlamaCpp llama, List<Path> files) throws IOException {
        for (String name : SENTENCE_PIECES) {
            Path model = RandomModel.write(name, pieces(name), seed(name));
            Files.writeString(model.resolve("tokenizer.json"), TinyTokenizers.sentencePieces(name.equals("mistral")));
            files.add(export(model));
            llama.read(files.getLast(), SENTENCE, SENTENCE.length());
        }
    }

    /** With another seed mixtral's router has two experts so near each other at one token that rounding swaps them. */
    private static long seed(String name) {
        return name.equals("mixtral") ? 3 : name.hashCode();
    }

    private static Path pieces(String name) {
        return folder.resolve(name + "-pieces");
    }

    @ParameterizedTest
    @FieldSource("SENTENCE_PIECES")
    void sentence_pieces_are_the_same_tokens(String name) {
        try (Tokenizer tokenizer = Tokenizer.load(pieces(name))) {
            assertEquals(Arrays.toString(tokenizer.encode(SENTENCE)).replace(" ", ""),
                    Objects.requireNonNull(results.get(gguf(pieces(name)))).path("tokens").toString());
        }
    }

    private static void quantize(Path model, Path output) {
        CommandRun.of("quantize", model, "--calibrator", "rtn", "--bits", 4, "--group-size", 32, "--eval", "none",
                "--output", output).succeeds();
    }

    private static void convert(Path model, Path output, Object... heads) {
        List<Object> args = new ArrayList<>(
                List.of("convert-gqa", model, "--output", output, "--eval", "none", "--samples", 8,
                        "--sequence-length", 64, "--device", "cpu"));
        args.addAll(List.of(heads));
        CommandRun.of(args.toArray()).succeeds();
    }

    private static Path export(Path model) {
        CommandRun.of("export", "gguf", model, "--output", gguf(model)).succeeds();
        return gguf(model);
    }

    private static Path quantized(Path model) {
        return Path.of(model + "-w4");
    }

    private static Path grouped(String name) {
        return folder.resolve(name + "-gqa");
    }

    private static Path gguf(Path model) {
        return Path.of(model + ".gguf");
    }

    private static Path decoded(Path model) {
        return Path.of(model + "-decoded.gguf");
    }

    @ParameterizedTest
    @FieldSource("MODELS")
    void a_plain_model_has_the_same_logits(String name) throws IOException {
        Path model = folder.resolve(name);
        assertSameLogits(model, gguf(model));
    }

    @Test
    void a_converted_model_in_the_form_of_mpt_has_the_same_logits() throws IOException {
        assertSameLogits(grouped("bloom"), gguf(grouped("bloom")));
    }

    @ParameterizedTest
    @FieldSource("QUANTIZED")
    void codes_stand_for_the_same_weights(String name) throws IOException {
        Path model = quantized(folder.resolve(name));
        assertSameLogits(model, decoded(model));
    }

    @ParameterizedTest
    @FieldSource("QUANTIZED")
    void blocks_are_computed_with_activations_of_8_bits(String name) throws IOException {
        Path model = quantized(folder.resolve(name));
        double[] ours = logProbabilities(model);
        float[] theirs = theirs(gguf(model));
        double divergence = 0;
        for (int i = 0; i < ours.length; i++) {
            divergence += Math.exp(ours[i]) * (ours[i] - Math.log(theirs[i])) / (SEQUENCES * LENGTH);
        }
        assertTrue(Math.abs(divergence) < DIVERGENCE, name + ": " + divergence + " nats a token");
    }

    private void assertSameLogits(Path model, Path file) throws IOException {
        float[] logits = logits(model);
        double largest = 0;
        for (float logit : logits) {
            largest = Math.max(largest, Math.abs(logit));
        }
        double[] ours = logProbabilities(model);
        float[] theirs = theirs(file);
        double worst = 0;
        for (int i = 0; i < ours.length; i++) {
            worst = Math.max(worst, Math.abs(ours[i] - Math.log(theirs[i])));
        }
        double allowed = model.endsWith("deepseek-v2-lite") ? DEEP_LOGITS : LOGITS;
        assertTrue(worst <= allowed * largest,
                file.getFileName() + ": off by " + worst / largest + " of the largest logit, " + largest);
    }

    private float[] theirs(Path file) throws IOException {
        JsonNode result = Objects.requireNonNull(results.get(file));
        assertEquals("{}", result.toString(), String.valueOf(file.getFileName()));
        return LlamaCpp.probabilities(file);
    }

    /** The logits, less what makes the probabilities of a token's successors add up to 1: softmax forgets that. */
    private double[] logProbabilities(Path model) {
        float[] logits = logits(model);
        double[] all = new double[logits.length];
        for (int from = 0; from < logits.length; from += VOCABULARY) {
            double sum = 0;
            for (int i = from; i < from + VOCABULARY; i++) {
                sum += Math.exp(logits[i]);
            }
            for (int i = from; i < from + VOCABULARY; i++) {
                all[i] = logits[i] - Math.log(sum);
            }
        }
        return all;
    }

    private float[] logits(Path model) {
        Path output = Path.of(model + "-logits.safetensors");
        if (Files.notExists(output)) {
            CommandRun.of("eval", "logits", model, "--input", folder.resolve("ids.safetensors"), "--output", output)
                    .succeeds();
        }
        try (SafetensorsFile file = SafetensorsFile.open(output)) {
            return Objects.requireNonNull(file.tensors().get("logits")).data()
                    .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        }
    }

    private void writeIds() {
        long[] all = Arrays.stream(ids).flatMapToInt(Arrays::stream).asLongStream().toArray();
        TensorSpec spec = new TensorSpec("input_ids", DType.I64, Shape.of(SEQUENCES, LENGTH));
        try (SafetensorsWriter writer = new SafetensorsWriter(folder.resolve("ids.safetensors"), List.of(spec),
                Map.of())) {
            writer.write("input_ids", MemorySegment.ofArray(all));
            writer.finish();
        }
    }

    private static Path trainedFile(Path model) {
        return folder.resolve(model.getFileName() + "-trained.gguf");
    }

    @Test
    void each_layer_has_its_own_number_of_heads_in_the_file() throws IOException {
        Path model = folder.resolve("wiki-tiny-llama-by-layer");
        try (ModelDirectory written = ModelDirectory.open(model)) {
            List<Integer> counts = ModelSpec.resolve(written).blockSpecs().stream()
                    .map(block -> ((Mixer.Attention) block.mixer()).kvHeads()).toList();
            assertTrue(counts.stream().distinct().count() > 1, counts.toString());
            assertEquals(counts, GgufFile.read(trainedFile(model)).metadata().get("deci.attention.head_count_kv"));
        }
    }

    @Test
    void trained_models_have_the_same_perplexity() throws IOException {
        Path text = Models.text(folder);
        for (Path model : trained) {
            JsonNode ours = CommandRun
                    .of("eval", "perplexity", model, "--text", text, "--window", WINDOW, "--json", "-").succeeds()
                    .json();
            JsonNode theirs = Objects.requireNonNull(results.get(trainedFile(model)));
            double expected = ours.findValue("perplexity").doubleValue();
            assertEquals(expected, theirs.path("perplexity").doubleValue(), PERPLEXITY * expected,
                    () -> model + ": " + ours + "\n" + theirs);
        }
    }
}
