package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.ExpertCoverage;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyTokenizer;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.SortedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Quantizing a mixture of experts in Mixtral's form. */
class ExpertsRunTest {

    private static final int WIDTH = 128;
    private static final int EXPERTS = 4;
    private static final int ACTIVE = 2;
    private static final int BLOCKS = 2;
    private static final int VOCABULARY = 288;
    private static final String CONFIG = """
            {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "dtype": "bfloat16",
             "hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
             "num_hidden_layers": 2, "vocab_size": 288, "max_position_embeddings": 256, "rms_norm_eps": 1e-05,
             "hidden_act": "silu", "rope_theta": 10000.0, "num_local_experts": 4, "num_experts_per_tok": 2,
             "sliding_window": null, "tie_word_embeddings": false}""";

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void every_expert_is_packed_and_routers_stay_as_they_are() {
        TinyRun run = new TinyRun(write(folder.resolve("model")), folder);

        RunReport report = run.run();

        List<ExpertCoverage> coverage = ExpertCoverage.of(report.layers());
        assertEquals(BLOCKS, coverage.size());
        for (ExpertCoverage block : coverage) {
            assertEquals(EXPERTS, block.tokens().size());
            assertEquals((long) ACTIVE * run.samples * run.sequenceLength,
                    block.tokens().stream().mapToLong(Long::longValue).sum(), block::toString);
            long few = block.tokens().stream().filter(tokens -> tokens < WIDTH).count();
            assertEquals(few, block.shrunk(), block::toString);
        }
        WrittenCheckpoint source = WrittenCheckpoint.read(run.settings().model());
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        Set<String> names = written.tensors().keySet();
        for (int block = 0; block < BLOCKS; block++) {
            String in = "model.layers." + block + ".block_sparse_moe.";
            for (int expert = 0; expert < EXPERTS; expert++) {
                for (String part : List.of("w1", "w2", "w3")) {
                    assertTrue(names.contains(in + "experts." + expert + "." + part + ".qweight"), names::toString);
                }
            }
            String router = in + "gate.weight";
            assertArrayEquals(Objects.requireNonNull(source.tensors().get(router)).floats(),
                    Objects.requireNonNull(written.tensors().get(router)).floats(), 1e-3f, router);
        }
    }

    /** Two tokens choose four experts of four, some of them twice: vLLM loads no layer of which one expert is not quantized. */
    @Test
    void an_expert_that_no_token_meets_is_quantized_too() {
        TinyRun run = new TinyRun(write(folder.resolve("model")), folder);
        run.samples = 1;
        run.sequenceLength = 2;

        RunReport report = run.run();

        WrittenCheckpoint source = WrittenCheckpoint.read(run.settings().model());
        WrittenCheckpoint written = WrittenCheckpoint.read(run.output);
        int unmet = 0;
        for (ExpertCoverage block : ExpertCoverage.of(report.layers())) {
            for (int expert = 0; expert < EXPERTS; expert++) {
                if (block.tokens().get(expert) == 0) {
                    unmet++;
                    String module = "model.layers." + block.block() + ".block_sparse_moe.experts." + expert + ".w1";
                    assertNear(source.tensor(module + ".weight").floats(), written.dequantized(module), module);
                }
            }
        }
        assertTrue(unmet > 0, report.layers()::toString);
    }

    /** A step is a seventh of a group's largest weight, some 0.3 standard deviations, and rounding is off by 0.29 steps of that. */
    private static void assertNear(float[] expected, float[] found, String module) {
        double error = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            error += Math.pow(found[i] - expected[i], 2);
            size += Math.pow(expected[i], 2);
        }
        assertTrue(error < 0.15 * 0.15 * size, module + ": " + Math.sqrt(error / size));
    }

    @Test
    void the_bytes_do_not_depend_on_the_number_of_threads() {
        assertTrue(new TinyRun(write(folder.resolve("model")), folder).filesForAnyThreads().size() > 1);
    }

    /** Experts pass in groups of three and one; blocks but the last stop where their sites are summed. */
    @Test
    void the_bytes_do_not_depend_on_how_many_experts_have_hessians_at_once() {
        TinyRun run = new TinyRun(write(folder.resolve("model")), folder);
        SortedMap<String, Long> together = run.files();
        run.expertsAtOnce = 3;
        assertEquals(together, run.files(), "3 at once");
        assertTrue(run.log.stream().anyMatch(line -> line.contains("of 3 of 4 experts at a time")),
                run.log::toString);
    }

    /** Hessians weigh tokens by the loss's gradient, experts' too; errors are propagated in attention alone. */
    @Test
    void gradient_calibration_keeps_what_helps_and_says_what_it_leaves_out() {
        TinyRun run = new TinyRun(write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.samples = 10;
        run.refinement = new Refinement(true, new NextToken(), true, 2, 3);

        RunReport report = run.run();

        assertTrue(report.warnings().stream().anyMatch(line -> line.contains("not propagated into experts")),
                report.warnings()::toString);
        List<Ablation.Step> steps = Objects.requireNonNull(report.ablation()).steps();
        for (int block = 0; block < BLOCKS; block++) {
            int wanted = block;
            List<Ablation.Step> its = steps.stream().filter(step -> Objects.equals(step.block(), wanted)).toList();
            assertEquals(List.of("scale search", "token weights", "error propagation in attention", "learned rounding"),
                    its.stream().map(Ablation.Step::name).toList());
            its.forEach(step -> assertNotEquals(step.lossBefore(), step.lossAfter(), step::toString));
            its.forEach(step -> assertTrue(!step.kept() || step.lossAfter() < step.lossBefore(), step::toString));
        }
    }

    @Test
    void the_progress_of_gradient_calibration_rises_to_what_was_planned() {
        TinyRun run = new TinyRun(write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;

        run.runWithRisingProgress();
    }

    static Path write(Path target) {
        List<TensorSpec> specs = new ArrayList<>();
        matrix(specs, "model.embed_tokens", VOCABULARY);
        for (int block = 0; block < BLOCKS; block++) {
            String in = "model.layers." + block + ".";
            vector(specs, in + "input_layernorm");
            for (String part : List.of("q", "k", "v", "o")) {
                matrix(specs, in + "self_attn." + part + "_proj",
                        part.equals("k") || part.equals("v") ? WIDTH / 2 : WIDTH);
            }
            vector(specs, in + "post_attention_layernorm");
            matrix(specs, in + "block_sparse_moe.gate", EXPERTS);
            for (int expert = 0; expert < EXPERTS; expert++) {
                for (String part : List.of("w1", "w2", "w3")) {
                    matrix(specs, in + "block_sparse_moe.experts." + expert + "." + part, WIDTH);
                }
            }
        }
        vector(specs, "model.norm");
        matrix(specs, "lm_head", VOCABULARY);
        Random random = new Random(42);
        try (CheckpointWriter writer = new CheckpointWriter(target, specs, Long.MAX_VALUE, false);
                Arena arena = Arena.ofConfined()) {
            for (TensorSpec spec : specs) {
                writer.write(spec.name(), values(spec, random, arena));
            }
            writer.writeJson("config.json", (ObjectNode) new JsonMapper().readTree(CONFIG));
            Files.writeString(writer.workDirectory().resolve("tokenizer.json"), TinyTokenizer.json());
            writer.finish();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return target;
    }

    private static void matrix(List<TensorSpec> specs, String module, int rows) {
        specs.add(new TensorSpec(module + ".weight", DType.BF16, Shape.of(rows, WIDTH)));
    }

    private static void vector(List<TensorSpec> specs, String module) {
        specs.add(new TensorSpec(module + ".weight", DType.BF16, Shape.of(WIDTH)));
    }

    private static MemorySegment values(TensorSpec spec, Random random, Arena arena) {
        boolean embedding = spec.name().contains("embed");
        boolean norm = spec.name().contains("norm");
        int count = (int) spec.shape().elements();
        MemorySegment bytes = arena.allocate((long) count * spec.dtype().bytes());
        for (int i = 0; i < count; i++) {
            float gaussian = (float) random.nextGaussian();
            bytes.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i,
                    Floats.toBF16(norm ? 1 + 0.1f * gaussian : embedding ? gaussian : 0.06f * gaussian));
        }
        return bytes;
    }
}
