package dev.optgptq.formats.gguf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a file says where config.json leaves a field out, or has it under another name: what transformers' config classes have. */
class GgufFamilyTest {

    private static final String SIZES = "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
            + "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":32,\"max_position_embeddings\":4096";

    @ParameterizedTest
    @CsvSource({"mixtral, llama, 1000000, 1e-5", "gemma3_text, gemma3, 1000000, 1e-6",
            "smollm3, smollm3, 2000000, 1e-6",
            "glm4, glm4, 10000, 1.5625e-7", "exaone4, exaone4, 10000, 1e-5", "olmo2, olmo2, 10000, 1e-5",
            "phi3, phi3, 10000, 1e-5", "qwen3_moe, qwen3moe, 10000, 1e-6"})
    void fields_that_are_left_out_have_the_defaults_of_the_family(String type, String architecture, float base,
            float epsilon) {
        GgufFamily family = family(type, "\"norm_topk_prob\":true,\"num_experts\":4,\"num_experts_per_tok\":2,"
                + "\"moe_intermediate_size\":32,\"head_dim\":16,\"query_pre_attn_scalar\":16");
        assertEquals(new GgufValue.F32(base), family.metadata().get(architecture + ".rope.freq_base"));
        assertEquals(new GgufValue.F32(epsilon), family.metadata().get(architecture
                + ".attention.layer_norm_rms_epsilon"));
    }

    @Test
    void heads_of_qwen3_moe_are_hidden_over_heads_where_nothing_is_said() {
        GgufFamily family = family("qwen3_moe", "\"norm_topk_prob\":true,\"num_experts\":4,\"num_experts_per_tok\":2,"
                + "\"moe_intermediate_size\":32");
        assertEquals(new GgufValue.U32(16), family.metadata().get("qwen3moe.rope.dimension_count"));
    }

    @Test
    void the_base_of_gpt_neox_has_a_name_of_its_own() {
        GgufFamily family = family("gpt_neox", "\"rotary_emb_base\":25000");
        assertEquals(new GgufValue.F32(25000), family.metadata().get("gptneox.rope.freq_base"));
    }

    @Test
    void an_original_context_beside_the_block_takes_precedence() {
        String scaling = "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
                + "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":%d}";
        float[] inside = factors(scaling.formatted(64));
        assertArrayEquals(inside, factors(scaling.formatted(8192) + ",\"original_max_position_embeddings\":64"));
    }

    private static float[] factors(String entries) {
        return family("llama", entries).rotaryFactors().firstEntry().getValue();
    }

    private static GgufFamily family(String type, String entries) {
        return GgufFamily.of(new ModelConfig(Json.parseObject(
                "{\"model_type\":\"" + type + "\"," + SIZES + "," + entries + "}", "config.json", Code.BAD_MODEL),
                Path.of("config.json")));
    }
}
