package dev.optgptq.cli.bench;

import dev.optgptq.formats.safetensors.TensorSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Writes a mixture of experts in Mixtral's shape, every width an eighth of 8x7B's, with random bfloat16 weights and two blocks:
 * {@code RandomMixture OUTPUT_DIR TOKENIZER_JSON EXPERTS ACTIVE}.
 */
public final class RandomMixture {

    private static final int HIDDEN = 512;
    private static final int LAYERS = 2;
    private static final int KV = 128;
    private static final int INTERMEDIATE = 1792;
    private static final int VOCABULARY = 32000;

    private RandomMixture() {}

    public static void main(String[] args) {
        int experts = Integer.parseInt(args[2]);
        String config = """
                {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "dtype": "bfloat16", "hidden_act": "silu",
                 "hidden_size": %d, "intermediate_size": %d, "num_hidden_layers": %d, "num_attention_heads": 8,
                 "num_key_value_heads": 2, "head_dim": 64, "vocab_size": %d, "max_position_embeddings": 2048,
                 "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "tie_word_embeddings": false, "sliding_window": null,
                 "num_local_experts": %d, "num_experts_per_tok": %d}
                """
                .formatted(HIDDEN, INTERMEDIATE, LAYERS, VOCABULARY, experts, Integer.parseInt(args[3]));
        RandomLlama.write(Path.of(args[0]), Path.of(args[1]), specs(experts), config);
    }

    private static List<TensorSpec> specs(int experts) {
        List<TensorSpec> specs = new ArrayList<>();
        RandomLlama.add(specs, "model.embed_tokens", VOCABULARY, HIDDEN);
        for (int layer = 0; layer < LAYERS; layer++) {
            String prefix = "model.layers." + layer + ".";
            RandomLlama.add(specs, prefix + "input_layernorm", HIDDEN);
            RandomLlama.add(specs, prefix + "self_attn.q_proj", HIDDEN, HIDDEN);
            RandomLlama.add(specs, prefix + "self_attn.k_proj", KV, HIDDEN);
            RandomLlama.add(specs, prefix + "self_attn.v_proj", KV, HIDDEN);
            RandomLlama.add(specs, prefix + "self_attn.o_proj", HIDDEN, HIDDEN);
            RandomLlama.add(specs, prefix + "post_attention_layernorm", HIDDEN);
            RandomLlama.add(specs, prefix + "block_sparse_moe.gate", experts, HIDDEN);
            for (int expert = 0; expert < experts; expert++) {
                String its = prefix + "block_sparse_moe.experts." + expert + ".";
                RandomLlama.add(specs, its + "w1", INTERMEDIATE, HIDDEN);
                RandomLlama.add(specs, its + "w3", INTERMEDIATE, HIDDEN);
                RandomLlama.add(specs, its + "w2", HIDDEN, INTERMEDIATE);
            }
        }
        RandomLlama.add(specs, "model.norm", HIDDEN);
        RandomLlama.add(specs, "lm_head", VOCABULARY, HIDDEN);
        return specs;
    }
}
