package dev.optgptq.calibrate.data;

import dev.optgptq.formats.json.Json;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Documents in lines of JSON: a field of each line's object, or the line's value itself. The file is mapped and indexed by line; a document is
 * decoded on demand, so that drawing a hundred from millions is cheap. Blank lines are skipped.
 */
final class JsonLines implements Documents {

    private static final long MOST_LINE_BYTES = 1L << 28;

    private static final JsonMapper JSON = new JsonMapper();

    /** Names the file in messages. */
    private final Path file;
    private final String unit;
    private final @Nullable String field;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment bytes;
    /** Of each document: where its line starts, where it ends, and its number, counted from 1. */
    private long[] starts = new long[1024];
    private long[] ends = new long[1024];
    private int[] lineNumbers = new int[1024];
    private int documents;

    private JsonLines(FileChannel channel, Path file, String unit, @Nullable String field) throws IOException {
        this.file = file;
        this.unit = unit;
        this.field = field;
        bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
    }

    /**
     * A document.
     *
     * @param value text, or a list of messages
     * @param place of it, for messages
     */
    record Document(JsonNode value, String place) {}

    /** @param field of each line's object: a key, or keys with dots between them */
    static JsonLines open(Path file, String field) {
        try {
            TextFiles.requireNoPointer(file);
            try (FileChannel channel = FileChannel.open(file)) {
                return over(channel, file, "line", field);
            }
        } catch (IOException e) {
            throw TextFiles.unreadable(file, e);
        }
    }

    /**
     * Lines that stand for something of another file.
     *
     * @param field null if the lines' values are the documents
     */
    static JsonLines over(FileChannel channel, Path file, String unit, @Nullable String field) throws IOException {
        JsonLines lines = new JsonLines(channel, file, unit, field);
        lines.index();
        if (lines.documents == 0) {
            lines.close();
            throw TextFiles.badText(file + " holds no documents");
        }
        return lines;
    }

    int documents() {
        return documents;
    }

    Document document(int index) {
        String place = file + ", " + unit + " " + lineNumbers[index];
        long length = ends[index] - starts[index];
        if (length > MOST_LINE_BYTES) {
            throw TextFiles.badText(place + " holds " + length + " bytes; at most " + MOST_LINE_BYTES
                    + " are read as one document");
        }
        MemorySegment line = bytes.asSlice(starts[index], length);
        JsonNode value = parse(TextFiles.decode(line.asByteBuffer(), place), place);
        JsonNode document = field == null ? value : RecordField.of(value, field, place);
        if (!document.isString() && !document.isArray()) {
            throw TextFiles.badText(place + ": expected a text, or a list of messages"
                    + (field == null ? "" : ", under \"" + field + "\"") + ", found " + Json.kind(document)
                    + "; choose another field with --field");
        }
        return new Document(document, place);
    }

    private static JsonNode parse(String line, String origin) {
        try {
            return JSON.readTree(line);
        } catch (JacksonException e) {
            throw TextFiles.badText(origin + " is not JSON: " + e.getOriginalMessage());
        }
    }

    private void index() {
        int number = 0;
        long start = 0;
        while (start < bytes.byteSize()) {
            long end = start;
            boolean blank = true;
            for (; end < bytes.byteSize(); end++) {
                byte b = bytes.get(ValueLayout.JAVA_BYTE, end);
                if (b == '\n') {
                    break;
                }
                blank &= b == ' ' || b == '\t' || b == '\r';
            }
            number++;
            if (!blank) {
                add(start, end, number);
            }
            start = end + 1;
        }
    }

    private void add(long start, long end, int number) {
        if (documents == starts.length) {
            starts = Arrays.copyOf(starts, documents * 2);
            ends = Arrays.copyOf(ends, documents * 2);
            lineNumbers = Arrays.copyOf(lineNumbers, documents * 2);
        }
        starts[documents] = start;
        ends[documents] = end;
        lineNumbers[documents] = number;
        documents++;
    }

    @Override
    public void close() {
        arena.close();
    }
}
