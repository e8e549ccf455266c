package dev.optgptq.gptq.serving;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/** The rules of every runtime, and what they make of settings. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class TargetTest {

    private List<ModelSpec> models = List.of();

    @BeforeAll
    void model(@TempDir Path folder) {
        try (ModelDirectory directory = ModelDirectory.open(TinyModel.LLAMA.write(folder.resolve("model")))) {
            models = List.of(ModelSpec.resolve(directory));
        }
    }

    @ParameterizedTest
    @EnumSource(TargetName.class)
    void every_rule_says_where_it_comes_from_and_what_to_do(TargetName runtime) {
        for (JsonNode rule : Target.of(runtime, 1).rules().path("rules")) {
            assertFalse(rule.path("name").stringValue().isEmpty());
            assertFalse(rule.path("source").stringValue().isEmpty(), rule::toString);
            assertFalse(rule.path("nearest").stringValue().isEmpty(), rule::toString);
            assertFalse(LocalDate.parse(rule.path("date").stringValue()).isAfter(LocalDate.of(2026, 12, 31)));
        }
    }

    @ParameterizedTest
    @CsvSource({"VLLM, 4, 32, true, GPTQ", "VLLM, 3, -1, true, COMPRESSED_TENSORS", "VLLM, 8, -1, true, W8A8",
            "VLLM_ROCM, 4, 32, false, COMPRESSED_TENSORS", "DCU, 8, -1, true, W8A8", "DCU, 4, 128, false, AWQ",
            "DCU, 8, -1, true, SLIMQUANT",
            "TRANSFORMERS, 3, 32, false, GPTQ_V2", "LLAMA_CPP, 4, 32, false, GPTQ_V2", "LLAMA_CPP, 8, -1, true, GPTQ",
            "MLX, 4, 64, true, MLX", "MLX, 3, 32, true, MLX", "MLX, 4, 64, false, AWQ"})
    void what_a_runtime_loads_passes(TargetName runtime, int bits, int groupSize, boolean symmetric,
            CheckpointFormat format) {
        Target.of(runtime, 1).check(new QuantizationConfig(bits, groupSize, symmetric, false, format),
                models.getFirst());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"VLLM|3|32|true|false|GPTQ|rule 'gptq grids'|--format compressed-tensors",
            "VLLM|4|32|false|false|GPTQ_V2|rule 'no gptq_v2'|--format compressed-tensors",
            "VLLM|4|16|true|false|GPTQ|groupSize one of -1, 32, 64, 128, found 16|--group-size 128",
            "VLLM|3|32|false|false|COMPRESSED_TENSORS|WNA16_ZP|--symmetric",
            "VLLM_ROCM|4|32|true|true|GPTQ|TritonW4A16|--act-order static",
            "VLLM_ROCM|3|32|true|false|COMPRESSED_TENSORS|(#46389), 2026-08-07|--bits 4",
            "DCU|8|-1|true|false|GPTQ|124 rows|--format w8a8",
            "DCU|4|64|false|false|AWQ|groups of 128|--group-size 128",
            "LLAMA_CPP|4|16|true|false|GPTQ|the inputs of a group in multiples of 32, found 16|--group-size 32",
            "LLAMA_CPP|8|32|false|false|GPTQ_V2|block_q8_0|--symmetric",
            "MLX|4|64|true|false|GPTQ|_transform_awq_weights|--format mlx",
            "MLX|4|256|false|false|AWQ|MLX affine quantization|--group-size 64"})
    void what_it_does_not_load_names_the_rule_its_source_and_the_nearest_setting(TargetName runtime, int bits,
            int groupSize,
            boolean symmetric, boolean descAct, CheckpointFormat format, String rule, String nearest) {
        QuantizationConfig config = new QuantizationConfig(bits, groupSize, symmetric, descAct, format);
        assertUserError(Code.BAD_SETTING, () -> Target.of(runtime, 1).check(config, models.getFirst()),
                "--target " + runtime + ": expected", rule, "; use ", nearest);
    }

    @Test
    void shards_have_whole_groups() {
        QuantizationConfig config = new QuantizationConfig(4, 128, true, false, CheckpointFormat.GPTQ);
        Target.of(TargetName.VLLM, 1).check(config, models.getFirst());
        assertUserError(Code.BAD_SETTING, () -> Target.of(TargetName.VLLM, 2).check(config, models.getFirst()),
                "the inputs of a rank in multiples of 128, found 64", "#11671");
        assertUserError(Code.BAD_SETTING, () -> Target.of(TargetName.VLLM, 3).check(config, models.getFirst()),
                "--tensor-parallel 3", "not divided evenly");
        assertUserError(Code.BAD_SETTING, () -> Target.of(TargetName.MLX, 2), "--tensor-parallel", "found 2");
    }

    @Test
    void the_kernel_is_named_where_it_is_known() {
        assertEquals(Optional.of("Marlin"), Target.of(TargetName.VLLM, 1)
                .kernel(new QuantizationConfig(4, 128, false, false, CheckpointFormat.AWQ)));
        assertEquals(Optional.of("Q8_0, after export gguf"), Target.of(TargetName.LLAMA_CPP, 1)
                .kernel(new QuantizationConfig(8, -1, true, false, CheckpointFormat.GPTQ)));
        assertEquals(Optional.empty(), Target.of(TargetName.DCU, 1)
                .kernel(new QuantizationConfig(8, -1, true, false, CheckpointFormat.W8A8)));
    }
}
