package dev.optgptq.calibrate.family;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelConfig;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** What config.json may say beside what the fixtures say: found by samples/interop/check_families.py. */
class FamilyConfigTest {

    private static final String COMMON = """
            {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 8,
             "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 16}""";

    private static final JsonMapper JSON = new JsonMapper();

    /**
     * @param fields beside the common ones
     * @param absent of the common ones
     */
    private static ModelSpec resolve(String modelType, String fields, String... absent) {
        ObjectNode config = (ObjectNode) JSON.readTree(COMMON);
        config.setAll((ObjectNode) JSON.readTree(fields));
        config.put("model_type", modelType);
        config.remove(List.of(absent));
        return ModelSpec.resolve(new ModelConfig(config, Path.of("config.json")));
    }

    private static Mixer.Attention attention(ModelSpec spec) {
        return assertInstanceOf(Mixer.Attention.class, spec.block(0).mixer());
    }

    private static Position.Rotary rotary(ModelSpec spec) {
        return assertInstanceOf(Position.Rotary.class, attention(spec).position());
    }

    private static FeedForward.Router router(ModelSpec spec) {
        return assertInstanceOf(FeedForward.Experts.class, spec.block(1).feedForward()).router();
    }

    @ParameterizedTest
    @CsvSource({"qwen3_moe,num_experts", "qwen3_moe,num_local_experts", "mixtral,num_experts",
            "olmoe,num_local_experts",
            "gpt_oss,num_experts"})
    void theNumberOfExpertsHasTwoNames(String modelType, String name) {
        ModelSpec spec = resolve(modelType, "{\"" + name + "\": 3, \"num_experts_per_tok\": 2}");
        assertEquals(3, router(spec).experts());
        assertEquals(List.of(), spec.remarks());
    }

    @Test
    void twoNamesOfOneFieldMayNotDiffer() {
        assertUserError(Code.BAD_MODEL, () -> resolve("qwen3_moe", "{\"num_experts\": 3, \"num_local_experts\": 4}"),
                "num_experts is 3 and num_local_experts");
    }

    @Test
    void aWindowThatIsSwitchedOffMayBeZero() {
        ModelSpec spec = resolve("qwen2_moe",
                """
                        {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
                         "use_sliding_window": false, "sliding_window": 0}""");
        assertEquals(0, attention(spec).window());
        assertEquals(List.of(), spec.remarks());
    }

    @Test
    void anAbsentWindowIsThatOfTheConfigClassAndANullIsNone() {
        assertEquals(4096, attention(resolve("mistral", "{}")).window());
        assertEquals(0, attention(resolve("mistral", "{\"sliding_window\": null}")).window());
    }

    @Test
    void anAbsentScalingOfGptOssIsThatOfTheConfigClass() {
        ModelSpec spec = resolve("gpt_oss",
                "{\"num_local_experts\": 3, \"num_experts_per_tok\": 2, \"rope_theta\": 500}");
        RotaryScaling.Yarn scaling = assertInstanceOf(RotaryScaling.Yarn.class, rotary(spec).scaling());
        assertEquals(List.of(32.0, 4096.0, 500.0),
                List.of(scaling.factor(), scaling.originalPositions(), rotary(spec).theta()));
    }

    @Test
    void defaultsAreThoseOfTheConfigClass() {
        assertEquals(1e6, rotary(resolve("mixtral", "{\"num_local_experts\": 3, \"num_experts_per_tok\": 2}")).theta());
        assertEquals(8, attention(resolve("mistral", "{}", "num_key_value_heads")).kvHeads());
        assertEquals(true, resolve("glm4", "{}").block(0).linear(Projection.QUERY).bias());
        FeedForward.Router router = router(resolve("deepseek_v3", """
                {"num_hidden_layers": 4, "first_k_dense_replace": 0, "n_routed_experts": 16, "num_experts_per_tok": 2,
                 "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 4,
                 "moe_intermediate_size": 16}"""));
        assertEquals(List.of(8, 4, 2.5f), List.of(router.groups(), router.activeGroups(), router.scale()));
    }

    @Test
    void aPartialFactorBesideTheBlockIsAFiller() {
        ModelSpec spec = resolve("phi", """
                {"partial_rotary_factor": 0.5, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0,
                 "partial_rotary_factor": 1.0}, "head_dim": null}""");
        assertEquals(4, rotary(spec).rotaryDim());
        assertEquals(List.of(), spec.remarks());
    }

    @Test
    void sizesOfAPartThatNoBlockHasAreNotUnknown() {
        ModelSpec spec = resolve("glm4_moe", """
                {"first_k_dense_replace": 2, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2,
                 "topk_group": 1, "norm_topk_prob": false, "n_shared_experts": 1, "moe_intermediate_size": 16}""");
        assertEquals(List.of(), spec.remarks());
    }

    @Test
    void exaone4TellsItsWindowsByAnIntervalOrLetters() {
        for (String pattern : List.of("2", "\"LG\"")) {
            ModelSpec spec = resolve("exaone4", "{\"sliding_window\": 5, \"sliding_window_pattern\": " + pattern + "}");
            assertEquals(5, attention(spec).window());
            assertInstanceOf(Position.Rotary.class, attention(spec).position());
            assertInstanceOf(Position.None.class, ((Mixer.Attention) spec.block(1).mixer()).position());
        }
    }

    /** As transformers 5.18 reads it: only Gemma 3 starts from rope_type "default", which type does not replace. */
    @Test
    void gemma3sScalingCountsUnderRopeTypeAlone() {
        String full = "\"layer_types\": [\"full_attention\", \"full_attention\"], \"rope_scaling\": ";
        ModelSpec older = resolve("gemma3_text", "{" + full + "{\"type\": \"linear\", \"factor\": 2.0}}");
        assertInstanceOf(RotaryScaling.Default.class, rotary(older).scaling());
        assertEquals(2, older.remarks().size(), older.remarks()::toString);
        assertTrue(older.remarks().getFirst().contains("rope_scaling.type"), older.remarks()::toString);
        ModelSpec both = resolve("gemma3_text",
                "{" + full + "{\"rope_type\": \"linear\", \"type\": \"linear\", \"factor\": 2.0}}");
        assertEquals(new RotaryScaling.Linear(2), rotary(both).scaling());
        assertEquals(List.of(), both.remarks());
    }

    @Test
    void anOddNumberOfRotaryElementsIsUnsupportedAndNotTheFilesFault() {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> resolve("glm4", "{\"partial_rotary_factor\": 0.4}"),
                "rotary embedding of 3 of 8 elements of a head", "partial_rotary_factor 0.4",
                "supported are even numbers");
        assertUserError(Code.BAD_MODEL, () -> resolve("glm4", "{\"partial_rotary_factor\": 1.5}"),
                "partial_rotary_factor is 1.5, 12 of 8 elements");
    }

    @Test
    void aScalingThatNoBlockHasIsNotUnknown() {
        ModelSpec spec = resolve("gemma3_text",
                """
                        {"layer_types": ["sliding_attention", "sliding_attention"], "rope_scaling": {"rope_type": "linear", "factor": 2.0}}""");
        assertEquals(List.of(), spec.remarks());
        assertInstanceOf(RotaryScaling.Default.class, rotary(spec).scaling());
    }

    @Test
    void gemma3ScoresHaveNoCapWhateverConfigSays() {
        assertEquals(0, attention(resolve("gemma3_text", "{\"attn_logit_softcapping\": 2.0}")).softcap());
    }

    @Test
    void theActivationOfDeltanetsIsThatOfTheConvolution() {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> resolve("qwen3_5_text", "{\"hidden_act\": \"gelu\"}"),
                "hidden_act is \"gelu\"");
    }

    @ParameterizedTest
    @ValueSource(strings = {"qwen2_vl", "qwen2_5_vl"})
    void theTextOfAModelThatSeesMayStandAtTheTop(String modelType) {
        ModelSpec spec = resolve(modelType, """
                {"vision_config": {"depth": 2}, "vision_token_id": 5, "rope_theta": 1000.0,
                 "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}""");
        assertEquals(1000, rotary(spec).theta());
        assertEquals(List.of("config.json is of a " + modelType + " model, of which the text part is run as qwen2; its "
                + "other tensors are kept as they are"), spec.remarks());
        assertTrue("visual.blocks.0.attn.qkv.weight".matches(spec.unused().getFirst()));
    }
}
