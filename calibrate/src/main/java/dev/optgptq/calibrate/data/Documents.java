package dev.optgptq.calibrate.data;

import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/** What a file of text holds: one text, or documents. */
sealed interface Documents extends AutoCloseable permits Documents.Whole, JsonLines {

    /** One stream of text. */
    record Whole(String text) implements Documents {

        @Override
        public void close() {
            // holds nothing open
        }
    }

    List<String> RECORDS = List.of(".parquet", ".json", ".jsonl", ".ndjson");

    /** U+FEFF in UTF-8, its bytes read as Latin-1. */
    String BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf";

    @Override
    void close();

    /**
     * By the file's name: .jsonl and .ndjson (an object in each line), .json (an array of objects), .parquet, and plain text
     * for all others. UserError BAD_TEXT for a file that cannot be read, or is none of this.
     *
     * @param field of the documents' records
     */
    static Documents open(Path file, String field) {
        String name = file.toString().toLowerCase(Locale.ROOT);
        if (name.endsWith(".parquet")) {
            return SpilledLines.ofParquet(file, field);
        }
        if (!holdsRecords(file)) {
            return new Whole(TextFiles.read(file));
        }
        return name.endsWith(".json") && isArray(file)
                ? SpilledLines.ofArray(file, field)
                : JsonLines.open(file, field);
    }

    /** Whether a file holds records, by its name. */
    static boolean holdsRecords(Path file) {
        String name = file.toString().toLowerCase(Locale.ROOT);
        return RECORDS.stream().anyMatch(name::endsWith);
    }

    /** Files named .json often hold lines. A byte order mark may come first. */
    private static boolean isArray(Path file) {
        try {
            TextFiles.requireNoPointer(file);
            try (Reader text = Files.newBufferedReader(file, StandardCharsets.ISO_8859_1)) {
                int first = text.read();
                while (BYTE_ORDER_MARK.indexOf(first) >= 0 || Character.isWhitespace(first)) {
                    first = text.read();
                }
                return first == '[';
            }
        } catch (IOException e) {
            throw TextFiles.unreadable(file, e);
        }
    }
}
