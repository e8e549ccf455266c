package dev.optgptq.cli.bench;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.Companion;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import tools.jackson.databind.json.JsonMapper;

/**
 * Writes a llama model of TinyLlama-1.1B's shape with random bfloat16 weights (2.2 GB), to measure memory with:
 * {@code RandomLlama OUTPUT_DIR TOKENIZER_JSON}.
 */
public final class RandomLlama {

    private static final int HIDDEN = 2048;
    private static final int LAYERS = 22;
    private static final int KV = 256;
    private static final int INTERMEDIATE = 5632;
    private static final int VOCABULARY = 32000;
    private static final String CONFIG = """
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "hidden_act": "silu",
             "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
             "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 32000, "max_position_embeddings": 2048,
             "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false, "attention_bias": false,
             "mlp_bias": false}
            """;

    private RandomLlama() {}

    public static void main(String[] args) {
        write(Path.of(args[0]), Path.of(args[1]), specs(), CONFIG);
    }

    /** Writes a model with random weights. */
    static void write(Path directory, Path tokenizer, List<TensorSpec> specs, String config) {
        try (CheckpointWriter writer = new CheckpointWriter(directory, specs, CheckpointWriter.DEFAULT_SHARD_BYTES,
                true)) {
            SplittableRandom random = new SplittableRandom(1);
            for (TensorSpec spec : specs) {
                try (Arena arena = Arena.ofConfined()) {
                    writer.write(spec.name(), values(spec, random, arena));
                }
            }
            writer.writeJson("config.json", JsonMapper.shared().readTree(config));
            writer.copy(new Companion(Path.of("tokenizer.json"), tokenizer));
            writer.finishTensors();
            writer.finish();
        }
    }

    private static List<TensorSpec> specs() {
        List<TensorSpec> specs = new ArrayList<>();
        add(specs, "model.embed_tokens", VOCABULARY, HIDDEN);
        for (int layer = 0; layer < LAYERS; layer++) {
            String prefix = "model.layers." + layer + ".";
            add(specs, prefix + "input_layernorm", HIDDEN);
            add(specs, prefix + "self_attn.q_proj", HIDDEN, HIDDEN);
            add(specs, prefix + "self_attn.k_proj", KV, HIDDEN);
            add(specs, prefix + "self_attn.v_proj", KV, HIDDEN);
            add(specs, prefix + "self_attn.o_proj", HIDDEN, HIDDEN);
            add(specs, prefix + "post_attention_layernorm", HIDDEN);
            add(specs, prefix + "mlp.gate_proj", INTERMEDIATE, HIDDEN);
            add(specs, prefix + "mlp.up_proj", INTERMEDIATE, HIDDEN);
            add(specs, prefix + "mlp.down_proj", HIDDEN, INTERMEDIATE);
        }
        add(specs, "model.norm", HIDDEN);
        add(specs, "lm_head", VOCABULARY, HIDDEN);
        return specs;
    }

    static void add(List<TensorSpec> specs, String module, long... shape) {
        specs.add(new TensorSpec(module + ".weight", DType.BF16, Shape.of(shape)));
    }

    /** Norms are 1; matrices uniform with a variance that keeps activations in range. */
    private static MemorySegment values(TensorSpec spec, SplittableRandom random, Arena arena) {
        MemorySegment values = arena.allocate(spec.bytes(), 64);
        boolean norm = spec.shape().rank() == 1;
        float reach = norm ? 0 : (float) Math.sqrt(3.0 / spec.shape().dimension(1));
        for (long i = 0; i < spec.shape().elements(); i++) {
            float value = norm ? 1 : reach * (2 * random.nextInt(1 << 16) / 65536f - 1);
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >>> 16));
        }
        return values;
    }
}
