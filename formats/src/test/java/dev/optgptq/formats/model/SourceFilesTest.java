package dev.optgptq.formats.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.node.JsonNodeFactory;

class SourceFilesTest {

    private static final FileTime THEN = FileTime.from(Instant.parse("2026-01-02T03:04:05Z"));

    @TempDir
    Path folder;

    @BeforeEach
    void aModelInTwoShards() throws IOException {
        List<TensorSpec> tensors = List.of(new TensorSpec("a", DType.U8, Shape.of(100)),
                new TensorSpec("b", DType.U8, Shape.of(100)));
        try (CheckpointWriter writer = new CheckpointWriter(model(), tensors, 100, false)) {
            tensors.forEach(tensor -> writer.write(tensor.name(), MemorySegment.ofArray(new byte[100])));
            writer.writeJson("config.json", JsonNodeFactory.instance.objectNode().put("a", 1));
            writer.finish();
        }
        Files.setLastModifiedTime(shard(), THEN);
    }

    @Test
    void every_file_that_decides_the_weights_is_described_and_describing_changes_nothing() {
        SequencedMap<String, String> files = describe();

        assertEquals(Set.of("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
                files.keySet());
        assertEquals(files, describe());
    }

    @Test
    void a_shard_that_was_fetched_again_is_noticed_by_its_time() throws IOException {
        SequencedMap<String, String> before = describe();
        Files.setLastModifiedTime(shard(), FileTime.from(THEN.toInstant().plusSeconds(1)));

        assertNotEquals(before.get("model-00002-of-00002.safetensors"),
                describe().get("model-00002-of-00002.safetensors"));
    }

    @Test
    void a_header_that_changed_is_noticed_although_size_and_time_are_the_same() throws IOException {
        SequencedMap<String, String> before = describe();
        byte[] bytes = Files.readAllBytes(shard());
        int dtype = new String(bytes, StandardCharsets.ISO_8859_1).indexOf("U8");
        bytes[dtype] = 'I';
        Files.write(shard(), bytes);
        Files.setLastModifiedTime(shard(), THEN);

        assertNotEquals(before.get("model-00002-of-00002.safetensors"),
                describe().get("model-00002-of-00002.safetensors"));
    }

    @Test
    void a_config_is_described_by_its_content_alone() throws IOException {
        SequencedMap<String, String> before = describe();
        Path config = model().resolve("config.json");
        Files.writeString(config, "{ \"a\" :1}");
        assertEquals(before, describe());

        Files.writeString(config, "{\"a\": 2}\n");

        assertNotEquals(before.get("config.json"), describe().get("config.json"));
    }

    @Test
    void a_model_that_was_moved_is_the_same() throws IOException {
        SequencedMap<String, String> before = describe();

        Files.move(model(), folder.resolve("elsewhere"));

        assertEquals(before, describe(folder.resolve("elsewhere")));
    }

    private Path model() {
        return folder.resolve("model");
    }

    private Path shard() {
        return model().resolve("model-00002-of-00002.safetensors");
    }

    private SequencedMap<String, String> describe() {
        return describe(model());
    }

    private static SequencedMap<String, String> describe(Path model) {
        try (ModelDirectory opened = ModelDirectory.open(model)) {
            return SourceFiles.describe(opened);
        }
    }
}
