package dev.optgptq.formats.safetensors;

import static dev.optgptq.formats.testing.Failures.assertRefused;
import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {

    private static final TensorSpec A = new TensorSpec("a", DType.F16, Shape.of(2));
    private static final TensorSpec B = new TensorSpec("b", DType.U8, Shape.of(3));

    @TempDir
    Path directory;

    @Test
    void nothing_is_at_the_target_until_it_is_complete_and_nothing_is_left_without_finish() throws IOException {
        Path target = directory.resolve("x.safetensors");
        try (SafetensorsWriter writer = new SafetensorsWriter(target, List.of(A, B), Map.of())) {
            writer.write("a", MemorySegment.ofArray(new byte[4]));
            assertFalse(Files.exists(target));
        }
        assertEquals(List.of(), list(directory));
    }

    @Test
    void an_older_file_is_replaced_only_by_a_complete_one() throws IOException {
        Path target = Files.writeString(directory.resolve("x.safetensors"), "old");
        try (SafetensorsWriter writer = new SafetensorsWriter(target, List.of(A, B), Map.of())) {
            writer.write("a", MemorySegment.ofArray(new byte[4]));
            assertUserError(Code.OUTPUT, writer::finish, "expected 2 tensors", "the first is 'b'");
        }
        assertEquals("old", Files.readString(target));
        try (SafetensorsWriter writer = new SafetensorsWriter(target, List.of(B), Map.of())) {
            writer.write("b", MemorySegment.ofArray(new byte[] {1, 2, 3}));
            writer.finish();
        }
        try (SafetensorsFile file = SafetensorsFile.open(target)) {
            assertEquals(List.of("b"), List.copyOf(file.tensors().keySet()));
        }
        assertEquals(List.of("x.safetensors"), list(directory));
    }

    @Test
    void unplanned_repeated_and_missized_tensors_are_refused() {
        try (SafetensorsWriter writer = new SafetensorsWriter(directory.resolve("x"), List.of(A, B), Map.of())) {
            assertRefused(() -> writer.write("c", MemorySegment.ofArray(new byte[3])), "'c' was not planned");
            assertRefused(() -> writer.write("b", MemorySegment.ofArray(new byte[4])), "'b'", "expected 3", "found 4");
            writer.write("b", MemorySegment.ofArray(new byte[3]));
            assertRefused(() -> writer.write("b", MemorySegment.ofArray(new byte[3])), "'b' is written already");
        }
    }

    @Test
    void a_name_planned_twice_or_reserved_is_refused_before_a_file_is_made() throws IOException {
        Path target = directory.resolve("x");
        assertRefused(() -> open(target, A, A), "'a' is planned twice");
        assertRefused(() -> open(target, new TensorSpec("__metadata__", DType.U8, Shape.of(1))), "__metadata__");
        assertEquals(List.of(), list(directory));
    }

    @Test
    void a_target_in_a_missing_directory_is_named() {
        Path target = directory.resolve("no").resolve("x.safetensors");
        assertUserError(Code.OUTPUT, () -> open(target, A), target.toString(), "directory is missing");
    }

    @Test
    void the_same_tensors_give_the_same_bytes_whatever_the_order_of_writing() throws IOException {
        byte[][] files = new byte[2][];
        for (int i = 0; i < 2; i++) {
            Path target = directory.resolve("order" + i);
            try (SafetensorsWriter writer = new SafetensorsWriter(target, List.of(B, A), Map.of("format", "pt"))) {
                for (String name : i == 0 ? List.of("a", "b") : List.of("b", "a")) {
                    writer.write(name, MemorySegment.ofArray(new byte[name.equals("a") ? 4 : 3]));
                }
                writer.finish();
            }
            files[i] = Files.readAllBytes(target);
        }
        assertEquals(-1, MemorySegment.ofArray(files[0]).mismatch(MemorySegment.ofArray(files[1])));
    }

    private static void open(Path target, TensorSpec... specs) {
        new SafetensorsWriter(target, List.of(specs), Map.of()).close();
    }

    private static List<String> list(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(entry -> entry.getFileName().toString()).toList();
        }
    }
}
