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

    @Test
    void companions_are_what_belongs_to_the_model_and_nothing_else() throws IOException {
        config();
        shard("model.safetensors", "a");
        List<String> companions = List.of("LICENSE", "added_tokens.json", "chat_template.jinja",
                "generation_config.json", "merges.txt", "modeling_x.py", "special_tokens_map.json", "tokenizer.json",
                "tokenizer.model", "tokenizer_config.json", "vocab.json");
        for (String name : companions) {
            Files.createFile(directory.resolve(name));
        }
        for (String name : List.of("README.md", "notes.txt", "pytorch_model.bin", "quantize_config.json", ".env",
                "optimizer.safetensors")) {
            Files.createFile(directory.resolve(name));
        }
        Files.createDirectory(directory.resolve("tokenizer_backup"));
        try (ModelDirectory model = open()) {
            assertEquals(companions, model.companions().stream().map(p -> p.getFileName().toString()).toList());
        }
    }

    @Test
    void packed_tensors_without_a_quantization_config_are_an_error() throws IOException {
        config();
        shard("model.safetensors", "m.qweight");
        try (ModelDirectory model = open()) {
            assertUserError(Code.BAD_MODEL, () -> model.packed("m"), "config.json", "quantization_config",
                    "'m.qweight'");
        }
    }

    @Test
    void the_quantization_config_of_config_json_counts_before_the_file_of_its_own() throws IOException {
        Files.writeString(directory.resolve("config.json"), "{}");
        Files.writeString(directory.resolve("quantize_config.json"), "{\"bits\":8,\"group_size\":64}");
        shard("model.safetensors", "a");
        try (ModelDirectory model = open()) {
            assertEquals(8, model.quantization().orElseThrow().bits());
        }
        Files.writeString(directory.resolve("config.json"),
                "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64}}");
        try (ModelDirectory model = open()) {
            assertEquals(4, model.quantization().orElseThrow().bits());
        }
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
