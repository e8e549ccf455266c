package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShardIndexTest {

    @Test
    void an_index_is_the_same_after_writing_and_reading() {
        ShardIndex index = ShardIndex.parse("""
                {"metadata":{"total_size":12},"weight_map":{"b":"model-2.safetensors","a":"model-1.safetensors"}}""",
                "index.json");
        assertEquals(index, ShardIndex.of(index.toJson(12), "index.json"));
        assertEquals(12, index.toJson(12).path("metadata").path("total_size").longValue());
        assertEquals(List.of("model-1.safetensors", "model-2.safetensors"), index.shards());
    }

    @ParameterizedTest
    @ValueSource(strings = {"../model.safetensors", "/etc/model.safetensors", "a/b.safetensors", "..\\\\m.safetensors",
            "C:m.safetensors", "m\\u0000.safetensors", "", "model.bin", ".."})
    void a_shard_outside_the_directory_or_of_another_kind_is_refused(String shard) {
        assertUserError(Code.BAD_MODEL,
                () -> ShardIndex.parse("{\"weight_map\":{\"w\":\"" + shard + "\"}}", "index.json"), "index.json",
                "for tensor 'w'");
    }

    @ParameterizedTest
    @ValueSource(strings = {"{}", "{\"weight_map\":{}}", "{\"weight_map\":[]}", "{\"weight_map\":null}"})
    void an_index_without_a_weight_map_is_refused(String text) {
        assertUserError(Code.BAD_MODEL, () -> ShardIndex.parse(text, "index.json"), "index.json", "weight_map");
    }

    @Test
    void a_tensor_listed_twice_is_refused() {
        assertUserError(Code.BAD_MODEL, () -> ShardIndex.parse(
                "{\"weight_map\":{\"w\":\"a.safetensors\",\"w\":\"b.safetensors\"}}", "index.json"), "Duplicate");
    }
}
