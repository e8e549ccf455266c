package dev.optgptq.calibrate.data;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InputIdsTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void readsBothIntegerTypes() {
        TokenSequences wide = InputIds.read(longs("input_ids", Shape.of(2, 3), 5, 4, 3, 2, 1, 0), 6);
        assertEquals(2, wide.count());
        assertEquals(3, wide.length());
        assertArrayEquals(new int[] {5, 4, 3, 2, 1, 0}, wide.ids());
        try (Arena arena = Arena.ofConfined()) {
            Path narrow = write("input_ids", DType.I32, Shape.of(1, 2), arena.allocateFrom(ValueLayout.JAVA_INT, 7, 8));
            assertArrayEquals(new int[] {7, 8}, InputIds.read(narrow, 9).ids());
        }
    }

    @Test
    void anotherNameShapeOrTypeIsRefusedSayingWhatIsThere() {
        assertUserError(Code.BAD_TEXT, () -> InputIds.read(longs("ids", Shape.of(1, 1), 0), 6), "input_ids",
                "found ids");
        assertUserError(Code.BAD_TEXT, () -> InputIds.read(longs("input_ids", Shape.of(2), 0, 1), 6),
                "[batch, length]", "I64 [2]");
        assertUserError(Code.BAD_TEXT, () -> InputIds.read(longs("input_ids", Shape.of(0, 4)), 6), "I64 [0, 4]");
    }

    @Test
    void idsOutsideTheVocabularyAreRefused() {
        assertUserError(Code.BAD_TOKENIZER, () -> InputIds.read(longs("input_ids", Shape.of(1, 1), 6), 6), "id 6",
                "of 6");
        assertUserError(Code.BAD_TOKENIZER, () -> InputIds.read(longs("input_ids", Shape.of(1, 1), -1), 6), "id -1");
        assertUserError(Code.BAD_TOKENIZER, () -> InputIds.read(longs("input_ids", Shape.of(1, 1), 1L << 32), 6),
                "id 4294967296");
    }

    private Path longs(String name, Shape shape, long... ids) {
        try (Arena arena = Arena.ofConfined()) {
            return write(name, DType.I64, shape, arena.allocateFrom(ValueLayout.JAVA_LONG, ids));
        }
    }

    private Path write(String name, DType type, Shape shape, MemorySegment data) {
        Path file = folder.resolve("ids.safetensors");
        try (SafetensorsWriter writer = new SafetensorsWriter(file, List.of(new TensorSpec(name, type, shape)),
                Map.of())) {
            writer.write(name, data);
            writer.finish();
        }
        return file;
    }
}
