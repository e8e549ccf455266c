package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.testing.SharedFiles;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelDirectoryTest {

    private static final String INDEX = "model.safetensors.index.json";

    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource({"models/wiki-llama-14m, 57, 13767552", "models/wiki-mpt-6m, 38, 5770496"})
    void a_model_is_read_whole_from_shards_or_from_one_file(String path, int tensors, long parameters) {
        try (ModelDirectory model = ModelDirectory.open(SharedFiles.require(path))) {
            assertEquals(tensors, model.tensors().size());
            assertEquals(parameters, model.tensors().values().stream().mapToLong(t -> t.shape().elements()).sum());
        }
    }

    @Test
    void shards_are_joined_in_the_order_of_their_names() throws IOException {
        sharded("\"z\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"");
        shard("m-1.safetensors", "a");
        shard("m-2.safetensors", "z");
        try (ModelDirectory model = open()) {
            assertEquals(List.of("a", "z"), List.copyOf(model.tensors().keySet()));
            assertEquals(directory.resolve("m-2.safetensors"), model.tensor("z").file());
            assertEquals(directory, model.path());
            assertTrue(model.quantization().isEmpty() && model.packed("a").isEmpty());
        }
    }

    @Test
    void a_missing_tensor_is_named_with_the_directory() throws IOException {
        config();
        shard("model.safetensors", "a");
        try (ModelDirectory model = open()) {
            assertUserError(Code.BAD_MODEL, () -> model.tensor("lm_head.weight"), directory.toString(),
                    "'lm_head.weight'");
        }
    }

    @Test
    void a_missing_shard_is_named() throws IOException {
        sharded("\"a\":\"m-1.safetensors\",\"z\":\"m-2.safetensors\"");
        shard("m-1.safetensors", "a");
        assertUserError(Code.BAD_MODEL, this::open, directory.resolve("m-2.safetensors").toString(), "missing");
    }

    @Test
    void a_truncated_shard_is_named() throws IOException {
        sharded("\"a\":\"m-1.safetensors\"");
        shard("m-1.safetensors", "a");
        Path shard = directory.resolve("m-1.safetensors");
        byte[] bytes = Files.readAllBytes(shard);
        Files.write(shard, Arrays.copyOf(bytes, bytes.length - 1));
        assertUserError(Code.BAD_MODEL, this::open, shard.toString(), "tensor 'a'", "truncated");
    }

    @Test
    void a_tensor_that_the_index_lists_must_be_in_its_shard() throws IOException {
        sharded("\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\"");
        shard("m-1.safetensors", "a");
        assertUserError(Code.BAD_MODEL, this::open, "m-1.safetensors", "expected tensor 'b'");
    }

    @Test
    void a_tensor_that_the_index_does_not_list_is_an_error() throws IOException {
        sharded("\"a\":\"m-1.safetensors\"");
        shard("m-1.safetensors", "a", "b");
        assertUserError(Code.BAD_MODEL, this::open, "m-1.safetensors", "'b'", "does not list");
    }

    @Test
    void a_tensor_in_two_shards_is_an_error() throws IOException {
        sharded("\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"");
        shard("m-1.safetensors", "a");
        shard("m-2.safetensors", "a", "b");
        assertUserError(Code.BAD_MODEL, this::open, "m-2.safetensors", "'a'", "places in m-1.safetensors");
    }

    @Test
    void one_file_and_an_index_of_others_contradict_each_other() throws IOException {
        sharded("\"a\":\"m-1.safetensors\"");
        shard("m-1.safetensors", "a");
        shard("model.safetensors", "a");
        assertUserError(Code.BAD_MODEL, this::open, directory.toString(), "remove the one that is out of date");
    }

    @Test
    void an_index_of_the_one_file_is_fine() throws IOException {
        sharded("\"a\":\"model.safetensors\"");
        shard("model.safetensors", "a");
        try (ModelDirectory model = open()) {
            assertEquals(1, model.tensors().size());
        }
    }

    @Test
    void a_directory_with_other_weights_says_which() throws IOException {
        config();
        Files.createFile(directory.resolve("pytorch_model.bin"));
        assertUserError(Code.BAD_MODEL, this::open, directory.toString(), "found pytorch_model.bin", "safetensors");
    }

    @Test
    void a_place_that_is_no_model_directory_says_what_it_is() throws IOException {
        assertUserError(Code.BAD_MODEL, () -> ModelDirectory.open(directory.resolve("no")), "found nothing");
        Path file = Files.createFile(directory.resolve("file"));
        assertUserError(Code.BAD_MODEL, () -> ModelDirectory.open(file), "found a file");
        assertUserError(Code.BAD_MODEL, this::open, directory.resolve("config.json").toString(), "missing");
    }

    @ParameterizedTest
    @CsvSource({"m.qweight, a quantization_config", "m.biases, a quantization"})
    void packed_tensors_without_a_quantization_config_are_an_error(String tensor, String key) throws IOException {
        config();
        shard("model.safetensors", tensor);
        try (ModelDirectory model = open()) {
            assertUserError(Code.BAD_MODEL, () -> model.packed("m"), "config.json", "expected " + key + ",",
                    "'" + tensor + "'");
        }
    }

    @Test
    void the_quantization_config_of_config_json_counts_before_the_file_of_its_own() throws IOException {
        Files.writeString(directory.resolve("config.json"), "{}");
        Files.writeString(directory.resolve("quantize_config.json"), "{\"bits\":8,\"group_size\":64}");
        shard("model.safetensors", "m.qweight");
        try (ModelDirectory model = open()) {
            assertEquals(8, model.quantization().orElseThrow().bits());
        }
        Files.writeString(directory.resolve("config.json"),
                "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64}}");
        try (ModelDirectory model = open()) {
            assertEquals(4, model.quantization().orElseThrow().bits());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "quantize_config.json"})
    void a_gptq_block_that_was_left_beside_plain_weights_means_nothing(String file) throws IOException {
        Files.writeString(directory.resolve("config.json"), "{}");
        String block = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64}";
        Files.writeString(directory.resolve(file),
                file.equals("config.json") ? "{\"quantization_config\":" + block + "}" : block);
        shard("model.safetensors", "m.weight");
        try (ModelDirectory model = open()) {
            assertTrue(model.quantization().isEmpty());
        }
    }

    @Test
    void a_block_of_another_method_is_refused_by_name_even_beside_plain_weights() throws IOException {
        Files.writeString(directory.resolve("config.json"), "{\"quantization_config\":{\"quant_method\":\"hqq\"}}");
        shard("model.safetensors", "m.weight");
        try (ModelDirectory model = open()) {
            assertUserError(Code.UNSUPPORTED_MODEL, model::quantization, "config.json", "'quant_method'",
                    "found the string \"hqq\"");
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"'fmt':'e5m2'|'fmt'", "'activation_scheme':'static'|'activation_scheme'",
            "'fmt':'e4m3'|'weight_block_size'", "'weight_block_size':[128,0]|'weight_block_size'"})
    void fp8_in_another_form_than_blocks_of_e4m3_is_refused_by_the_field(String field, String named)
            throws IOException {
        Files.writeString(directory.resolve("config.json"),
                ("{'quantization_config':{'quant_method':'fp8'," + field + "}}").replace('\'', '"'));
        shard("model.safetensors", "m.weight");
        try (ModelDirectory model = open()) {
            assertUserError(Code.UNSUPPORTED_MODEL, model::quantization, "config.json", named, "bfloat16");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"gptq_model-4bit-128g.safetensors", "weights.safetensors"})
    void one_file_under_another_name_is_the_model(String name) throws IOException {
        config();
        shard(name, "a");
        try (ModelDirectory model = open()) {
            assertEquals(directory.resolve(name), model.tensor("a").file());
        }
    }

    @Test
    void shards_under_another_name_are_found_by_their_index() throws IOException {
        config();
        Files.writeString(directory.resolve("gptq_model-4bit-128g.safetensors.index.json"), """
                {"weight_map":{"a":"gptq_model-4bit-128g-1.safetensors","b":"gptq_model-4bit-128g-2.safetensors"}}""");
        shard("gptq_model-4bit-128g-1.safetensors", "a");
        shard("gptq_model-4bit-128g-2.safetensors", "b");
        try (ModelDirectory model = open()) {
            assertEquals(List.of("a", "b"), List.copyOf(model.tensors().keySet()));
        }
    }

    @Test
    void several_files_without_an_index_are_ambiguous_and_an_adapter_is_no_model() throws IOException {
        config();
        shard("adapter_model.safetensors", "a");
        assertUserError(Code.UNSUPPORTED_MODEL, this::open, "adapter_model.safetensors", "merge it");
        shard("b.safetensors", "a");
        assertUserError(Code.BAD_MODEL, this::open, "found adapter_model.safetensors, b.safetensors");
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "model.safetensors", INDEX})
    void a_link_that_leads_nowhere_is_named_with_its_target(String name) throws IOException {
        config();
        shard("model.safetensors", "a");
        Files.deleteIfExists(directory.resolve(name));
        Files.createSymbolicLink(directory.resolve(name), Path.of("../blobs/4f3c"));
        assertUserError(Code.BAD_MODEL, this::open, directory.resolve(name).toString(), "leads to ../blobs/4f3c",
                "not there");
    }

    @Test
    void a_directory_that_is_a_link_to_nowhere_is_named_with_its_target() throws IOException {
        Path link = Files.createSymbolicLink(directory.resolve("latest"), Path.of("run-7"));
        assertUserError(Code.BAD_MODEL, () -> ModelDirectory.open(link), "a link to run-7, which is not there");
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "model.safetensors", INDEX})
    void a_pointer_of_git_lfs_is_named_as_that(String name) throws IOException {
        config();
        shard("model.safetensors", "a");
        Files.writeString(directory.resolve(name), """
                version https://git-lfs.github.com/spec/v1
                oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
                size 12345
                """);
        assertUserError(Code.BAD_MODEL, this::open, directory.resolve(name).toString(), "Git LFS pointer",
                "git lfs pull");
    }

    private ModelDirectory open() {
        return ModelDirectory.open(directory);
    }

    private void config() throws IOException {
        Files.writeString(directory.resolve("config.json"), "{}");
    }

    private void sharded(String weightMap) throws IOException {
        config();
        Files.writeString(directory.resolve(INDEX), "{\"metadata\":{},\"weight_map\":{" + weightMap + "}}");
    }

    private void shard(String file, String... names) {
        List<TensorSpec> specs = Stream.of(names).map(name -> new TensorSpec(name, DType.U8, Shape.of(4))).toList();
        try (SafetensorsWriter writer = new SafetensorsWriter(directory.resolve(file), specs, Map.of())) {
            specs.forEach(spec -> writer.write(spec.name(), MemorySegment.ofArray(new byte[4])));
            writer.finish();
        }
    }
}
