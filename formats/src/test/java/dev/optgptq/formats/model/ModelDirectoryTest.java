package dev.optgptq.formats.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.testing.SharedFiles;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ModelDirectoryTest {

    @ParameterizedTest
    @CsvSource({"models/wiki-llama-14m, 57, 13767552", "models/wiki-mpt-6m, 38, 5770496"})
    void a_model_is_read_whole_from_shards_or_from_one_file(String path, int tensors, long parameters) {
        try (ModelDirectory model = ModelDirectory.open(SharedFiles.require(path))) {
            assertEquals(tensors, model.tensors().size());
            assertEquals(parameters, model.tensors().values().stream().mapToLong(t -> t.shape().elements()).sum());
        }
    }
}
