package dev.optgptq.calibrate.family;

import java.util.List;
import java.util.stream.Stream;

/** The fixtures of described families, in the folder that is shared. */
public final class FamilyFixtures {

    /** Those that PyTorch computed, by transformers or by a plain reference. */
    public static final List<String> DENSE = List.of("baichuan-13b", "bloom", "cohere2", "deepseek-v2",
            "deepseek-v2-lite", "deepseek-v3", "ernie4_5", "exaone4",
            "exaone4-all-full", "falcon-alibi-gqa", "falcon-multi-query", "falcon-new-decoder", "falcon-rw", "gemma2",
            "gemma3-text", "glm4", "gpt-neox", "gpt2", "granite", "llama-dynamic", "llama-gqa-rope-llama3",
            "llama-longrope", "llama-mha", "llama-yarn", "mistral-sliding-window", "mpt", "mpt-bias-clip-qk-ln",
            "mpt-gqa", "olmo2", "opt", "opt-gqa", "phi", "phi-qk-layernorm-gqa", "phi3", "phi3-longrope", "qwen2",
            "qwen2-yarn-window", "qwen3", "qwen3-5-text", "qwen3-next", "seed-oss", "smollm3", "stablelm",
            "stablelm-parallel-qk-layernorm",
            "starcoder2");

    /** Those with experts. */
    public static final List<String> MIXTURES = List.of("glm4-moe", "gpt-oss", "granite-moe", "mixtral", "olmoe",
            "qwen2-moe",
            "qwen3-moe");

    private FamilyFixtures() {}

    public static Stream<String> all() {
        return Stream.concat(DENSE.stream(), MIXTURES.stream());
    }
}
