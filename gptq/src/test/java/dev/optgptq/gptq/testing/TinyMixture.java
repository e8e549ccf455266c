package dev.optgptq.gptq.testing;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A mixture of experts in Mixtral's form with random weights, bfloat16.
 *
 * @param experts of each block, of which a token passes {@link #ACTIVE}
 */
public record TinyMixture(int experts) {

    public static final int WIDTH = 128;
    public static final int ACTIVE = 2;
    public static final int BLOCKS = 2;
    private static final int VOCABULARY = 288;

    /** Writes it, and returns the folder. */
    public Path write(Path target) {
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
            matrix(specs, in + "block_sparse_moe.gate", experts);
            for (int expert = 0; expert < experts; expert++) {
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
            writer.writeJson("config.json", (ObjectNode) new JsonMapper().readTree(config()));
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

    private String config() {
        return """
                {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "dtype": "bfloat16",
                 "hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "num_hidden_layers": 2, "vocab_size": 288, "max_position_embeddings": 256, "rms_norm_eps": 1e-05,
                 "hidden_act": "silu", "rope_theta": 10000.0, "num_local_experts": %d, "num_experts_per_tok": 2,
                 "sliding_window": null, "tie_word_embeddings": false}"""
                .formatted(experts);
    }
}
