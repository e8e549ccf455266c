package dev.optgptq.calibrate.data;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The documents of a .jsonl: the "text" of each line's object. The file is mapped and indexed by line; a document is
 * decoded on demand, so that drawing a hundred from millions is cheap. Blank lines are skipped.
 */
final class JsonLines implements AutoCloseable {

    private static final long MOST_LINE_BYTES = 1L << 28;

    private static final JsonMapper JSON = new JsonMapper();

    private final Path file;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment bytes;
    /** Of each document: where its line starts, where it ends, and its number, counted from 1. */
    private long[] starts = new long[1024];
    private long[] ends = new long[1024];
    private int[] lineNumbers = new int[1024];
    private int documents;

    private JsonLines(Path file) throws IOException {
        this.file = file;
        try (FileChannel channel = FileChannel.open(file)) {
            bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
        }
    }

    static JsonLines open(Path file) {
        try {
            JsonLines lines = new JsonLines(file);
            lines.index();
            if (lines.documents == 0) {
                lines.close();
                throw TextFiles.badText(file + " holds no documents");
            }
            return lines;
        } catch (IOException e) {
            throw TextFiles.unreadable(file, e);
        }
    }

    int documents() {
        return documents;
    }

    String text(int document) {
        String origin = file + ", line " + lineNumbers[document];
        long length = ends[document] - starts[document];
        if (length > MOST_LINE_BYTES) {
            throw TextFiles.badText(origin + " holds " + length + " bytes; at most " + MOST_LINE_BYTES
                    + " are read as one document");
        }
        MemorySegment line = bytes.asSlice(starts[document], length);
        JsonNode text = parse(TextFiles.decode(line.asByteBuffer(), origin), origin).path("text");
        if (!text.isString()) {
            throw TextFiles.badText(origin + ": expected an object with a string under \"text\"");
        }
        return text.stringValue();
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
