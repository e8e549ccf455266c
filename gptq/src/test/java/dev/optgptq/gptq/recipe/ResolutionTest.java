package dev.optgptq.gptq.recipe;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig.ModuleGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Rules for some modules, in models of 12 blocks. */
class ResolutionTest {

    private static final String SIZES = """
            "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_hidden_layers": 12, "vocab_size": 288, "max_position_embeddings": 256, "rms_norm_eps": 1e-05,
            "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": false}""";
    private static final ModelSpec LLAMA = model("""
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,""" + SIZES);
    private static final ModelSpec MIXTRAL = model("""
            {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 4,
             "num_experts_per_tok": 2, "sliding_window": null,""" + SIZES);
    private static final PackedGrid COMMON = new PackedGrid(4, 128, true, false);

    private static ModelSpec model(String config) {
        return ModelSpec.resolve(new ModelConfig(Json.parseObject(config, "config.json", Code.BAD_MODEL),
                Path.of("config.json")));
    }

    @Test
    void a_rule_names_modules_by_their_whole_name() {
        ModuleGrids grids = resolve(LLAMA, List.of(".*layers\\.1\\.mlp\\.down_proj=bits:8,group:64"), List.of());

        assertEquals(new PackedGrid(8, 64, true, false), grids.own().get("model.layers.1.mlp.down_proj"));
        assertEquals(1, grids.own().size(), "not layers 10 and 11");
        assertEquals(List.of(new ModuleGrid("model\\.layers\\.1\\.mlp\\.down_proj$", 8, 64, true)), grids.rules());
    }

    @Test
    void what_is_fused_keeps_in_step_and_the_log_says_so() {
        Resolution.Resolved found = Resolution.of(LLAMA, COMMON,
                Recipe.of(List.of(".*\\.[02]\\..*q_proj=bits:8"), List.of(".*\\.3\\..*up_proj")), false);

        assertEquals(6, found.grids().own().size());
        assertEquals(new PackedGrid(8, 128, true, false), found.grids().own().get("model.layers.2.self_attn.v_proj"));
        assertEquals(2, found.grids().skipped().size(), "gate and up");
        assertEquals(2, found.remarks().size());
        assertTrue(found.remarks().getFirst().contains(
                "--override '.*\\.[02]\\..*q_proj=bits:8' also covers self_attn.k_proj, self_attn.v_proj (4 modules)"),
                found.remarks()::toString);
    }

    @Test
    void the_experts_of_a_layer_have_one_grid() {
        ModuleGrids grids = resolve(MIXTRAL, List.of(".*\\.0\\..*experts\\.3\\.w2=bits:2"), List.of());

        assertEquals(12, grids.own().size());
        ModuleGrid rule = grids.rules().getFirst();
        assertTrue(rule.matches("model.layers.0.block_sparse_moe.experts"), rule::pattern);
        assertTrue(rule.matches("model.layers.0.block_sparse_moe.experts.1.w1"), rule::pattern);
        assertFalse(rule.matches("model.layers.0.block_sparse_moe.gate"), rule::pattern);
    }

    @Test
    void patterns_of_a_config_match_what_the_rules_came_to_and_nothing_else() {
        ModuleGrids grids = resolve(LLAMA, List.of(".*\\.(0|1|11)\\..*q_proj=bits:8", ".*down_proj=sym:false,group:-1"),
                List.of(".*\\.10\\..*o_proj"));
        QuantizationConfig config = grids.config(CheckpointFormat.GPTQ_V2);

        linears(LLAMA).forEach(linear -> {
            assertEquals(grids.quantizes(linear), !config.isPlain(linear.module()), linear.module());
            if (grids.quantizes(linear)) {
                assertEquals(grids.of(linear), config.forModule(linear.module()).grids().getFirst(), linear.module());
            }
        });
        assertTrue(config.modules().stream().anyMatch(rule -> rule.matches("model.layers.11.self_attn.qkv_proj")),
                "vLLM asks by the fused name: " + config.modules());
        assertEquals(List.of("model\\.layers\\.10\\.self_attn\\.o_proj$"), config.plain());
    }

    @Test
    void groups_by_activity_are_said_of_the_checkpoint_where_any_module_has_several_groups() {
        PackedGrid oneGroup = new PackedGrid(4, -1, true, false);
        assertFalse(Resolution.of(LLAMA, oneGroup, Recipe.NONE, true).grids().common().descAct());
        assertTrue(Resolution.of(LLAMA, oneGroup, Recipe.of(List.of(".*o_proj=group:32"), List.of()), true).grids()
                .common().descAct());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            ".*q_proj=bits:5|2, 3, 4 or 8 for bits, found '5'", ".*q_proj=bits:|for bits, found ''",
            ".*q_proj=group:0|-1 for one group per output", ".*q_proj=sym:no|true or false for sym",
            ".*q_proj=damp:1|bits, group or sym, found 'damp'", ".*q_proj=bits:4,bits:8|bits once",
            ".*q_proj=8|such as bits:8", ".*q_proj|no '='", "=bits:8|a pattern of module names",
            "(q_proj=bits:8|a regular expression, found '(q_proj'",
            "q_proj=bits:8|matches no linear of a block; it has to match the whole name of one, such as model.layers.0.",
            "lm_head=bits:8|matches no linear of a block"})
    void an_override_that_is_not_understood_is_quoted_with_what_is(String override, String fragment) {
        assertUserError(Code.BAD_SETTING, () -> resolve(LLAMA, List.of(override), List.of()),
                "--override '" + override + "'", fragment);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {".*q_proj=bits:8|.*q_proj=bits:3|''|model.layers.0.self_attn.q_proj;",
            ".*q_proj=bits:8|.*k_proj=bits:3|''|.q_proj and model.layers.0.self_attn.k_proj, which have one grid",
            ".*up_proj=bits:8|.*down_proj=bits:3|.*gate_proj|mlp.gate_proj and model.layers.0.mlp.up_proj"})
    void rules_that_contradict_are_both_named(String one, String other, String skip, String where) {
        List<String> skips = skip.isEmpty() ? List.of() : List.of(skip);
        assertUserError(Code.BAD_SETTING, () -> resolve(LLAMA, List.of(one, other), skips), "--override '" + one + "'",
                skip.isEmpty() ? "--override '" + other + "'" : "--skip '" + skip + "'", "contradict each other",
                where);
    }

    @Test
    void rules_that_agree_or_set_different_things_add_up() {
        ModuleGrids grids = resolve(LLAMA, List.of(".*q_proj=bits:8", ".*k_proj=bits:8,group:32"), List.of());
        assertEquals(new PackedGrid(8, 32, true, false), grids.own().get("model.layers.0.self_attn.q_proj"));
    }

    @Test
    void formats_that_cannot_hold_grids_of_their_own_refuse_with_those_that_can() {
        ModuleGrids grids = resolve(LLAMA, List.of(".*o_proj=group:32"), List.of());
        assertUserError(Code.BAD_SETTING, () -> grids.config(CheckpointFormat.AWQ), "format awq",
                "self_attn\\.o_proj", "--format gptq or compressed-tensors");
    }

    private static ModuleGrids resolve(ModelSpec model, List<String> overrides, List<String> skips) {
        return Resolution.of(model, COMMON, Recipe.of(overrides, skips), false).grids();
    }

    private static Stream<LinearSpec> linears(ModelSpec model) {
        return model.blockSpecs().stream().flatMap(block -> block.linears().stream());
    }

    @Test
    void a_pattern_may_hold_the_sign_that_ends_it() {
        assertEquals(Pattern.compile(".*(?=x)x_proj").pattern(),
                Recipe.of(List.of(".*(?=x)x_proj=bits:8"), List.of()).rules().getFirst().pattern().pattern());
    }
}
