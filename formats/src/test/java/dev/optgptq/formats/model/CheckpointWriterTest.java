package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Failures.assertRefused;
import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.testing.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.node.JsonNodeFactory;

class CheckpointWriterTest {

    /** t0 .. t4, of 100 bytes each. */
    private static final List<TensorSpec> TENSORS = IntStream.range(0, 5)
            .mapToObj(i -> new TensorSpec("t" + i, DType.I8, Shape.of(10, 10))).toList();

    @TempDir
    Path parent;
    Path target = Path.of("");

    @BeforeEach
    void nameTarget() {
        target = parent.resolve("out");
    }

    @Test
    void what_fits_one_shard_is_one_file_without_an_index() throws IOException {
        write(TENSORS, 500, false);
        assertEquals(List.of(".opt-gptq", "config.json", "model.safetensors"), list(target));
        assertReadsBack();
        try (SafetensorsFile file = SafetensorsFile.open(target.resolve("model.safetensors"))) {
            assertEquals(Map.of("format", "pt"), file.metadata());
        }
    }

    @Test
    void more_than_one_shard_has_an_index_with_the_total_size() throws IOException {
        write(TENSORS, 250, false);
        assertEquals(List.of(".opt-gptq", "config.json", "model-00001-of-00003.safetensors",
                "model-00002-of-00003.safetensors",
                "model-00003-of-00003.safetensors", "model.safetensors.index.json"), list(target));
        var index = Json.readObject(target.resolve("model.safetensors.index.json"), Code.BAD_MODEL);
        assertEquals(500, index.path("metadata").path("total_size").intValue());
        assertEquals("model-00002-of-00003.safetensors", index.path("weight_map").path("t2").stringValue());
        assertReadsBack();
    }

    @Test
    void a_tensor_larger_than_a_shard_has_one_to_itself() throws IOException {
        write(TENSORS, 1, false);
        assertEquals(5 + 3, list(target).size());
        assertReadsBack();
    }

    @Test
    void tensors_can_be_read_back_before_the_directory_appears() throws IOException {
        try (CheckpointWriter writer = writer(250, false)) {
            TENSORS.reversed().forEach(spec -> writer.write(spec.name(), content(spec)));
            writer.writeJson("config.json", JsonNodeFactory.instance.objectNode());
            writer.finishTensors();
            assertFalse(Files.exists(target));
            try (ModelDirectory model = ModelDirectory.open(writer.workDirectory())) {
                assertEquals(5, model.tensors().size());
            }
            writer.finish();
        }
        assertReadsBack();
        assertEquals(List.of("out"), list(parent));
    }

    @Test
    void without_finish_nothing_is_left() throws IOException {
        try (CheckpointWriter writer = writer(250, false)) {
            writer.write("t0", content(TENSORS.get(0)));
            assertNotEquals(List.of(), list(parent));
        }
        assertEquals(List.of(), list(parent));
    }

    @Test
    void a_tensor_never_written_is_named_and_nothing_appears() throws IOException {
        try (CheckpointWriter writer = writer(500, false)) {
            TENSORS.subList(0, 4).forEach(spec -> writer.write(spec.name(), content(spec)));
            assertUserError(Code.OUTPUT, writer::finish, "'t4'");
        }
        assertEquals(List.of(), list(parent));
    }

    @Test
    void unplanned_and_repeated_tensors_are_refused() {
        try (CheckpointWriter writer = writer(100, false)) {
            writer.write("t0", content(TENSORS.get(0)));
            assertRefused(() -> writer.write("t0", content(TENSORS.get(0))), "'t0' is written already");
            assertRefused(() -> writer.write("x", content(TENSORS.get(0))), "'x' was not planned");
        }
    }

    @Test
    void directories_above_the_target_are_created() throws IOException {
        target = parent.resolve("a/b/out");
        write(TENSORS, 500, false);
        assertReadsBack();
    }

    @Test
    void an_existing_target_is_refused_and_untouched_without_overwrite() throws IOException {
        write(TENSORS, 500, false);
        assertUserError(Code.OUTPUT, () -> write(TENSORS, 250, false), target.toString(), "--overwrite");
        assertEquals(3, list(target).size());
        assertEquals(List.of("out"), list(parent));
    }

    @Test
    void overwrite_replaces_a_model_directory_as_a_whole() throws IOException {
        write(TENSORS, 500, false);
        write(TENSORS, 250, true);
        assertEquals(6, list(target).size());
        assertReadsBack();
        assertEquals(List.of("out"), list(parent));
    }

    @Test
    void overwrite_keeps_the_old_directory_until_the_new_one_is_complete() throws IOException {
        write(TENSORS, 500, false);
        try (CheckpointWriter writer = writer(250, true)) {
            writer.write("t0", content(TENSORS.get(0)));
            assertReadsBack();
        }
        assertReadsBack();
        assertEquals(List.of("out"), list(parent));
    }

    @Test
    void overwrite_leaves_what_a_link_points_to_alone_unless_we_wrote_it() throws IOException {
        Path elsewhere = Files.createDirectory(parent.resolve("elsewhere"));
        Files.writeString(elsewhere.resolve("config.json"), "{}");
        Files.createSymbolicLink(target, elsewhere);
        assertUserError(Code.OUTPUT, () -> write(TENSORS, 500, true), elsewhere.toString(), "did not write");
        assertEquals(List.of("config.json"), list(elsewhere));
    }

    @Test
    void overwrite_never_deletes_a_directory_that_is_not_ours() throws IOException {
        Files.createDirectory(target);
        Path precious = Files.writeString(target.resolve("thesis.txt"), "all of it");
        assertUserError(Code.OUTPUT, () -> write(TENSORS, 500, true), target.toString(), "did not write");
        assertEquals("all of it", Files.readString(precious));
    }

    @Test
    void a_file_in_the_way_is_refused_with_and_without_overwrite() throws IOException {
        Files.writeString(target, "text");
        assertUserError(Code.OUTPUT, () -> write(TENSORS, 500, false), "found a file");
        assertUserError(Code.OUTPUT, () -> write(TENSORS, 500, true), "found a file");
        assertEquals("text", Files.readString(target));
    }

    @Test
    void what_the_disk_cannot_hold_is_refused_before_a_byte_is_written() throws IOException {
        List<TensorSpec> huge = List.of(new TensorSpec("huge", DType.U8, Shape.of(1L << 60)));
        assertUserError(Code.OUTPUT, () -> new CheckpointWriter(target, huge, 1L << 62, false).close(),
                parent.toString(), "free");
        assertEquals(List.of(), list(parent));
    }

    @Test
    void a_target_below_a_file_is_refused() throws IOException {
        target = Files.createFile(parent.resolve("file")).resolve("out");
        assertUserError(Code.OUTPUT, () -> write(TENSORS, 500, false), parent.resolve("file").toString());
    }

    @Test
    void companions_are_copied_to_their_places_once() throws IOException {
        Path file = Files.writeString(parent.resolve("blob"), "a b");
        Companion companion = new Companion(Path.of("original", "merges.txt"), file);
        Companion missing = new Companion(Path.of("no.txt"), parent.resolve("no.txt"));
        try (CheckpointWriter writer = writer(500, false)) {
            writer.copy(companion);
            assertEquals("a b", Files.readString(writer.workDirectory().resolve("original/merges.txt")));
            assertUserError(Code.OUTPUT, () -> writer.copy(companion), "merges.txt", "in the way");
            assertUserError(Code.BAD_MODEL, () -> writer.copy(missing), "no.txt", "missing");
        }
    }

    /** A terminal's Ctrl-C and this signal run the same shutdown hooks. */
    @Test
    void a_process_that_is_stopped_leaves_nothing_behind() throws Exception {
        Process process = ChildJvm.start(WritesAndWaits.class, Map.of(), target.toString());
        try (BufferedReader output = process.inputReader()) {
            assertEquals("writing", output.readLine());
            assertEquals(1, list(parent).size());
            process.destroy();
            assertTrue(process.waitFor(30, TimeUnit.SECONDS), "the process did not end");
        } finally {
            process.destroyForcibly();
        }
        assertEquals(List.of(), list(parent));
    }

    /** Writes one of five tensors and sleeps until it is stopped. */
    static final class WritesAndWaits {
        public static void main(String[] args) throws InterruptedException {
            try (CheckpointWriter writer = new CheckpointWriter(Path.of(args[0]), TENSORS, 250, false)) {
                writer.write("t0", content(TENSORS.get(0)));
                System.out.println("writing");
                Thread.sleep(60_000);
            }
        }
    }

    private CheckpointWriter writer(long shardBytes, boolean overwrite) {
        return new CheckpointWriter(target, TENSORS, shardBytes, overwrite);
    }

    private void write(List<TensorSpec> tensors, long shardBytes, boolean overwrite) {
        try (CheckpointWriter writer = writer(shardBytes, overwrite)) {
            tensors.forEach(spec -> writer.write(spec.name(), content(spec)));
            writer.writeJson("config.json", JsonNodeFactory.instance.objectNode());
            writer.finish();
        }
    }

    private void assertReadsBack() {
        try (ModelDirectory model = ModelDirectory.open(target)) {
            assertEquals(5, model.tensors().size());
            TENSORS.forEach(spec -> assertEquals(-1, content(spec).mismatch(model.tensor(spec.name()).data())));
        }
    }

    private static MemorySegment content(TensorSpec spec) {
        return MemorySegment.ofArray(new byte[(int) spec.bytes()]).fill((byte) spec.name().charAt(1));
    }

    private static List<String> list(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
        }
    }
}
