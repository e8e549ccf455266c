package dev.optgptq.gptq.journal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import dev.optgptq.formats.UserError;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

class JournalTest {

    private static final Identity IDENTITY = new Identity(new LinkedHashMap<>(Map.of("--bits", "4")));
    private static final TensorSpec SPEC = new TensorSpec("codes", DType.U8, Shape.of(1000));

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // set before each test
    private OutputDirectory directory;
    private final List<String> log = new ArrayList<>();

    @BeforeEach
    void aDirectory() {
        directory = new OutputDirectory(folder.resolve("out"), false);
    }

    @AfterEach
    void closeIt() {
        directory.close();
    }

    @Test
    void a_finished_part_is_found_by_a_later_run_with_its_tensors_and_its_note() {
        Journal first = begun("2026-01-01T00:00:00Z");
        ObjectNode note = note().put("error", 1e-3 / 3).put("tiny", 1e-300).put("crc", 4_294_967_295L);
        finish(first, "block-0", 7, note);

        Journal later = reopened();

        assertEquals(List.of("block-0"), later.names());
        assertEquals(Optional.of(IDENTITY), later.identity());
        assertEquals(List.of("2026-01-01T00:00:00Z"), later.starts());
        Part part = later.find("block-0").orElseThrow();
        assertEquals(note, part.note());
        assertArrayEquals(content(7), read(part));
        assertEquals(List.of(), log);
    }

    @Test
    void a_part_that_was_not_finished_is_not_there() throws IOException {
        Journal journal = begun("2026-01-01T00:00:00Z");
        try (PartWriter writer = journal.begin("block-0", List.of(SPEC))) {
            writer.write(SPEC.name(), MemorySegment.ofArray(content(1)));
        }

        assertEquals(List.of(), reopened().names());
        try (var files = Files.list(directory.path())) {
            assertEquals(List.of("complete", "lock", "run.json"),
                    files.map(file -> String.valueOf(file.getFileName())).sorted().toList());
        }
    }

    /** A process that is killed between the tensors and the note. */
    @Test
    void tensors_without_a_note_are_not_a_part() throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());
        Files.delete(directory.path().resolve("block-0.json"));

        Journal later = reopened();

        assertEquals(List.of(), later.names());
        assertTrue(later.find("block-0").isEmpty());
        finish(later, "block-0", 2, note());
        assertArrayEquals(content(2), read(reopened().find("block-0").orElseThrow()));
    }

    @Test
    void a_part_that_is_written_again_replaces_the_first() {
        Journal journal = begun("2026-01-01T00:00:00Z");
        finish(journal, "block-0", 1, note().put("n", 1));

        finish(journal, "block-0", 2, note().put("n", 2));

        Part part = reopened().find("block-0").orElseThrow();
        assertEquals(2, part.note().path("n").asInt());
        assertArrayEquals(content(2), read(part));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 7, 100, -1})
    void a_bit_that_flipped_anywhere_in_the_tensors_is_noticed_and_named(int at) throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());
        Path file = directory.path().resolve("block-0.safetensors");
        byte[] bytes = Files.readAllBytes(file);
        bytes[at < 0 ? bytes.length - 1 : at] ^= 1;
        Files.write(file, bytes);

        assertTrue(reopened().find("block-0").isEmpty());

        assertEquals(1, log.size());
        assertTrue(log.getFirst().contains("block-0.safetensors: the checksum is not the one"), log.getFirst());
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"crc32c\": 1, \"note\": {}}", "{\"note\": {\"n\": 1}}", "{\"crc32c\": 1}", "{}", "",
            "{\"crc32c\": ", "[1]", "\0\0\0\0"})
    void a_note_that_is_damaged_is_never_trusted(String content) throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note().put("n", 1));
        Files.writeString(directory.path().resolve("block-0.json"), content);

        assertTrue(reopened().find("block-0").isEmpty());

        assertEquals(1, log.size());
        assertTrue(log.getFirst().contains("this part is computed again"), log.getFirst());
    }

    @Test
    void a_number_that_changed_in_a_note_is_noticed() throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note().put("seconds", 12.5));
        Path file = directory.path().resolve("block-0.json");
        Files.writeString(file, Files.readString(file).replace("12.5", "13.5"));

        assertTrue(reopened().find("block-0").isEmpty());
    }

    @Test
    void tensors_that_are_missing_are_named() throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());
        Files.delete(directory.path().resolve("block-0.safetensors"));

        assertTrue(reopened().find("block-0").isEmpty());

        assertTrue(log.getFirst().contains("block-0.safetensors: cannot be read"), log.getFirst());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "{}", "{\"format\": 2, \"starts\": [], \"identity\": {}}",
            "{\"format\": 1, \"starts\": [], \"identity\": 3}", "[]"})
    void a_journal_of_an_unknown_run_is_a_problem_until_it_is_started_over(String content) throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());
        Files.writeString(directory.path().resolve("run.json"), content);

        Journal journal = reopened();

        UserError problem = journal.problem().orElseThrow();
        assertEquals(Code.OUTPUT, problem.code());
        assertTrue(String.valueOf(problem.getMessage()).matches("(?s).*run.json: .*--fresh.*"), problem.getMessage());
        assertTrue(Files.exists(directory.path().resolve("block-0.safetensors")));

        journal.startOver(new Identity(new LinkedHashMap<>(Map.of("--bits", "3"))));
        assertTrue(journal.problem().isEmpty());
        assertFalse(Files.exists(directory.path().resolve("block-0.safetensors")));
    }

    /** A process that is killed while it writes a block. */
    @Test
    void what_was_half_written_is_cleared_away() throws IOException {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());
        Path half = Files.writeString(directory.path().resolve(".block-1.safetensors.partial-77"), "half a block");

        reopened().begin("2026-01-02T00:00:00Z");

        assertFalse(Files.exists(half));
        assertEquals(List.of("block-0"), reopened().names());
    }

    @Test
    void every_start_is_recorded() {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());

        reopened().begin("2026-01-02T00:00:00Z");

        assertEquals(List.of("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), reopened().starts());
    }

    @Test
    void starting_over_deletes_all_parts() {
        finish(begun("2026-01-01T00:00:00Z"), "block-0", 1, note());
        Journal later = reopened();

        later.startOver(IDENTITY);
        later.begin("2026-01-02T00:00:00Z");

        assertEquals(List.of(), reopened().names());
        assertEquals(List.of("2026-01-02T00:00:00Z"), reopened().starts());
    }

    @Test
    void a_run_without_a_part_leaves_nothing() {
        begun("2026-01-01T00:00:00Z");
        directory.close();

        assertFalse(Files.exists(directory.path()));
    }

    private Journal begun(String time) {
        Journal journal = new Journal(directory, log::add);
        journal.startOver(IDENTITY);
        journal.begin(time);
        return journal;
    }

    private Journal reopened() {
        return new Journal(directory, log::add);
    }

    private static void finish(Journal journal, String name, long seed, ObjectNode note) {
        try (PartWriter writer = journal.begin(name, List.of(SPEC))) {
            writer.write(SPEC.name(), MemorySegment.ofArray(content(seed)));
            writer.finish(note);
        }
    }

    private static ObjectNode note() {
        return JsonNodeFactory.instance.objectNode();
    }

    private static byte[] content(long seed) {
        byte[] bytes = new byte[1000];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    private static byte[] read(Part part) {
        try (SafetensorsFile file = part.open()) {
            return file.tensors().sequencedValues().getFirst().data().toArray(ValueLayout.JAVA_BYTE);
        }
    }
}
