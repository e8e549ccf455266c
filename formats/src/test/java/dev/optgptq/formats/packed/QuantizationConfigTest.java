package dev.optgptq.formats.packed;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.packed.QuantizationConfig.Provenance;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;

class QuantizationConfigTest {

    private static final Provenance PROVENANCE = new Provenance("opt-gptq:0.1.0", 0.01, true, false);

    @ParameterizedTest
    @CsvSource({"4, 128, true, false, GPTQ", "2, 32, true, true, GPTQ_V2", "3, -1, false, false, GPTQ_V2",
            "8, 48, true, true, GPTQ", "4, 128, true, false, COMPRESSED_TENSORS",
            "3, -1, false, true, COMPRESSED_TENSORS",
            "4, 128, false, false, AWQ", "8, -1, true, false, W8A8"})
    void a_config_is_the_same_after_writing_and_reading(int bits, int groupSize, boolean symmetric, boolean descAct,
            CheckpointFormat format) {
        QuantizationConfig config = new QuantizationConfig(bits, groupSize, symmetric, descAct, format);
        assertEquals(config,
                QuantizationConfig.fromJson(config.toJson(PROVENANCE, List.of(), List.of()), "config.json"));
    }

    @Test
    void the_block_is_the_portable_one_that_runtimes_read() {
        assertEquals(Json.parseObject("""
                {"quant_method":"gptq","bits":4,"group_size":128,"sym":true,"desc_act":false,"lm_head":false,
                 "checkpoint_format":"gptq","format":"gptq","pack_dtype":"int32","damp_percent":0.01,
                 "true_sequential":true,"static_groups":false,"meta":{"quantizer":["opt-gptq:0.1.0"]}}""", "expected",
                Code.BAD_MODEL),
                new QuantizationConfig(4, 128, true, false, CheckpointFormat.GPTQ).toJson(PROVENANCE, List.of(),
                        List.of()));
    }

    @Test
    void a_damp_that_transformers_would_refuse_is_left_out() {
        JsonNode json = new QuantizationConfig(4, 128, true, false, CheckpointFormat.GPTQ)
                .toJson(new Provenance("opt-gptq:0.1.0", 0, false, false), List.of(), List.of());
        assertFalse(Set.copyOf(json.propertyNames()).contains("damp_percent"));
    }

    @Test
    void the_file_of_autogptq_has_no_method_and_its_defaults() {
        assertEquals(new QuantizationConfig(4, 128, true, true, CheckpointFormat.GPTQ),
                read("""
                        {"bits":4,"group_size":128,"damp_percent":0.01,"model_name_or_path":null,"model_file_base_name":null}"""));
    }

    @Test
    void keys_that_change_nothing_are_accepted() {
        assertEquals(new QuantizationConfig(8, 32, true, false, CheckpointFormat.GPTQ_V2),
                read("""
                        {"quant_method":"GPTQ","method":"gptq","bits":8,"group_size":32,"sym":true,"desc_act":false,
                         "checkpoint_format":"gptq_v2","dynamic":{"-:.*lm_head":{}},"is_marlin_format":false,"pack_dtype":"int32",
                         "meta":{"anything":1}}"""));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {"\"quant_method\":\"fp8\"|found the string \"fp8\"",
            "\"quant_method\":7|'quant_method'", "\"bits\":5|2, 3, 4 or 8 at 'bits', found the number 5",
            "\"checkpoint_format\":\"marlin\"|\"marlin\"", "\"is_marlin_format\":true|is_marlin_format",
            "\"pack_dtype\":\"int16\"|\"int16\"",
            "\"dynamic\":{\".*up_proj\":{\"sym\":false}}|sym true or checkpoint_format gptq_v2",
            "\"dynamic\":{\".*up_proj\":{\"desc_act\":false}}|the true of all modules at 'desc_act'",
            "\"dynamic\":{\".*up_proj\":{\"adapter\":{}}}|only bits, group_size, sym, desc_act at 'adapter'",
            "\"sym\":false|borrow from its neighbour"})
    void a_kind_of_checkpoint_that_is_not_read_is_named(String entries, String fragment) {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> readOverridden(entries), "config.json", fragment);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {"\"bits\":\"4\"|a whole number at 'bits'",
            "\"bits\":null|found null", "\"group_size\":0|a positive number or -1 at 'group_size'",
            "\"group_size\":128.5|a whole number at 'group_size'", "\"sym\":1|true or false at 'sym'",
            "\"desc_act\":\"no\"|'desc_act'",
            "\"checkpoint_format\":\"gptq\",\"format\":\"gptq_v2\"|the value at 'checkpoint_format', \"gptq\" at 'format'"})
    void a_damaged_block_names_the_key(String entries, String fragment) {
        assertUserError(Code.BAD_MODEL, () -> readOverridden(entries), "config.json", fragment);
    }

    @Test
    void modules_with_bits_of_their_own_are_the_same_after_writing_and_reading() {
        for (CheckpointFormat format : List.of(CheckpointFormat.GPTQ, CheckpointFormat.COMPRESSED_TENSORS)) {
            QuantizationConfig config = new QuantizationConfig(4, 128, true, false, format,
                    List.of(new QuantizationConfig.ModuleGrid(".*\\.down_proj$", 8, 64, true),
                            new QuantizationConfig.ModuleGrid("model\\.layers\\.0\\.", 3, -1,
                                    format == CheckpointFormat.GPTQ)),
                    List.of());
            QuantizationConfig read = QuantizationConfig.fromJson(
                    config.toJson(PROVENANCE, List.of(), List.of("lm_head")),
                    "config.json");
            assertEquals(config, read);
            assertEquals(8, read.forModule("model.layers.0.mlp.down_proj").bits());
            assertEquals(-1, read.forModule("model.layers.0.mlp.up_proj").groupSize());
            assertEquals(128, read.forModule("model.layers.1.mlp.up_proj").groupSize());
        }
    }

    /** As README.md of GPTQModel has it, with rules of every kind. */
    @Test
    void dynamic_is_read_as_gptqmodel_writes_it() {
        QuantizationConfig read = read(
                """
                        {"quant_method":"gptq","bits":4,"group_size":128,"sym":true,"desc_act":false,"checkpoint_format":"gptq_v2",
                         "dynamic":{".*\\\\.18\\\\..*(gate|down).*":{"bits":8,"group_size":64},
                                    "+:.*\\\\.19\\\\..*down.*":{"sym":false,"mse":2.4},
                                    "-:.*\\\\.20\\\\..*":{}}}""");

        QuantizationConfig down = read.forModule("model.layers.18.mlp.down_proj");
        assertEquals(8, down.bits());
        assertEquals(64, down.groupSize());
        assertEquals(128, read.forModule("model.layers.18.mlp.up_proj").groupSize());
        assertFalse(read.forModule("model.layers.19.mlp.down_proj").symmetric());
        assertTrue(down.symmetric());
    }

    @Test
    void the_block_of_compressed_tensors_is_the_one_that_its_loaders_read() {
        assertEquals(Json.parseObject("""
                {"quant_method":"compressed-tensors","format":"pack-quantized","quantization_status":"compressed",
                 "global_compression_ratio":null,"kv_cache_scheme":null,"ignore":["lm_head"],
                 "config_groups":{"group_0":{"targets":["Linear"],
                  "weights":{"num_bits":4,"type":"int","symmetric":false,"strategy":"group","group_size":128,
                   "dynamic":false,"actorder":null,"observer":"minmax"},
                  "input_activations":null,"output_activations":null}}}""", "expected", Code.BAD_MODEL),
                new QuantizationConfig(4, 128, false, false, CheckpointFormat.COMPRESSED_TENSORS).toJson(PROVENANCE,
                        List.of(), List.of("lm_head")));
    }

    @Test
    void a_module_that_compressed_tensors_names_in_full_has_a_pattern_that_python_reads_too() {
        QuantizationConfig read = read(
                """
                        {"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{
                         "group_0":{"targets":["Linear"],"weights":{"num_bits":4,"symmetric":true,"strategy":"group","group_size":128}},
                         "group_1":{"targets":["model.layers.0.mlp.up_proj"],
                          "weights":{"num_bits":8,"symmetric":true,"strategy":"group","group_size":128}}}}""");
        assertEquals("model\\.layers\\.0\\.mlp\\.up_proj$", read.modules().getFirst().pattern());
        assertEquals(8, read.forModule("model.layers.0.mlp.up_proj").bits());
        assertEquals(4, read.forModule("model.layers.0.mlp.up_projection").bits());
        assertEquals(4, read.forModule("model.layers.0_mlp.up_proj").bits());
    }

    @Test
    void a_block_of_llm_compressor_is_read() {
        assertEquals(new QuantizationConfig(8, -1, true, false, CheckpointFormat.W8A8),
                read("""
                        {"quant_method":"compressed-tensors","format":"int-quantized","quantization_status":"compressed",
                         "version":"0.12.2","global_compression_ratio":null,"kv_cache_scheme":null,"sparsity_config":{},
                         "transform_config":{},"ignore":["lm_head"],"config_groups":{"group_0":{"targets":["Linear"],"format":null,
                          "weights":{"num_bits":8,"type":"int","symmetric":true,"strategy":"channel","group_size":null,
                           "block_structure":null,"dynamic":false,"actorder":null,"observer":"minmax","observer_kwargs":{}},
                          "input_activations":{"num_bits":8,"type":"int","symmetric":true,"strategy":"token","group_size":null,
                           "dynamic":true,"observer":null,"observer_kwargs":{}},"output_activations":null}}}"""));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            "\"format\":\"float-quantized\"|\"int-quantized\" at 'format'",
            "\"kv_cache_scheme\":{\"num_bits\":8}|nothing at 'kv_cache_scheme'",
            "\"sparsity_config\":{\"format\":\"sparse-24\"}|'sparsity_config'",
            "\"config_groups\":{\"a\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":5}}}|2, 3, 4 or 8 at 'num_bits'"})
    void a_kind_of_compressed_tensors_that_is_not_read_is_named(String entries, String fragment) {
        assertUserError(Code.UNSUPPORTED_MODEL,
                () -> readOverridden("\"quant_method\":\"compressed-tensors\"," + entries), "config.json", fragment);
    }

    @Test
    void a_block_that_is_no_object_is_refused() {
        assertUserError(Code.BAD_MODEL,
                () -> QuantizationConfig.fromJson(JsonNodeFactory.instance.arrayNode(), "config.json"), "config.json");
    }

    @Test
    void settings_that_no_checkpoint_can_have_are_refused() {
        assertUserError(Code.BAD_SETTING, () -> config(5, 128, true, CheckpointFormat.GPTQ), "bits", "found 5");
        assertUserError(Code.BAD_SETTING, () -> config(4, 0, true, CheckpointFormat.GPTQ), "group size", "found 0");
        assertUserError(Code.BAD_SETTING, () -> config(4, -2, true, CheckpointFormat.GPTQ), "group size", "found -2");
        assertUserError(Code.BAD_SETTING, () -> config(4, 128, false, CheckpointFormat.GPTQ), "gptq_v2");
    }

    private static QuantizationConfig config(int bits, int groupSize, boolean symmetric, CheckpointFormat format) {
        return new QuantizationConfig(bits, groupSize, symmetric, false, format);
    }

    private static QuantizationConfig read(String json) {
        return QuantizationConfig.fromJson(Json.parseObject(json, "config.json", Code.BAD_MODEL), "config.json");
    }

    private static QuantizationConfig readOverridden(String entries) {
        var json = Json.parseObject("{\"bits\":4,\"group_size\":128}", "base", Code.BAD_MODEL);
        json.setAll(Json.parseObject("{" + entries + "}", "override", Code.BAD_MODEL));
        return QuantizationConfig.fromJson(json, "config.json");
    }
}
