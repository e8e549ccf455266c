package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.parquet.ParquetColumn;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Documents of a file that can only be read from its start, written into a temporary file of lines, from which any can be read
 * at once. The file is gone when it is closed.
 */
final class SpilledLines {

    private static final JsonMapper JSON = new JsonMapper();

    private SpilledLines() {}

    /** The values of a column. */
    static JsonLines ofParquet(Path file, String column) {
        pointerFree(file);
        return spill(file, "row", null, lines -> ParquetColumn.read(file, column, lines));
    }

    /** The elements of an array. */
    static JsonLines ofArray(Path file, String field) {
        return spill(file, "element", field, lines -> {
            try (JsonParser json = JSON.createParser(file)) {
                json.nextToken();
                while (json.nextToken() != JsonToken.END_ARRAY) {
                    lines.accept(json.readValueAsTree());
                }
                if (json.nextToken() != null) {
                    throw TextFiles.badText(file + ": expected one array of objects, found more after it; put all into "
                            + "one array, or name the file .jsonl if it has one object in each line");
                }
            } catch (JacksonException e) {
                throw TextFiles.badText(file + ": expected an array of objects, found " + Json.describe(e)
                        + "; the file is damaged, fetch it again");
            }
        });
    }

    private static void pointerFree(Path file) {
        try {
            TextFiles.requireNoPointer(file);
        } catch (IOException e) {
            throw TextFiles.unreadable(file, e);
        }
    }

    /**
     * @param unit what a line stands for, in messages
     * @param field of the values that are objects; null if they are the documents
     */
    private static JsonLines spill(Path file, String unit, @Nullable String field,
            Consumer<Consumer<JsonNode>> values) {
        try {
            Path spilled = Files.createTempFile("opt-gptq-text-", ".jsonl");
            FileChannel channel = FileChannel.open(spilled, StandardOpenOption.READ, StandardOpenOption.WRITE,
                    StandardOpenOption.DELETE_ON_CLOSE);
            try (channel; OutputStream lines = new BufferedOutputStream(Channels.newOutputStream(channel), 1 << 16)) {
                values.accept(value -> write(value, lines, file));
                lines.flush();
                return JsonLines.over(channel, file, unit, field);
            }
        } catch (IOException e) {
            throw full(file, e);
        }
    }

    /** A null is no document, but counts. */
    private static void write(JsonNode value, OutputStream lines, Path file) {
        try {
            if (!value.isNull()) {
                lines.write(Json.toCompactBytes(value));
            }
            lines.write('\n');
        } catch (IOException e) {
            throw full(file, e); // at once: the reader of the values would take it for its own failure
        }
    }

    private static UserError full(Path file, IOException e) {
        return new UserError(Code.OUTPUT, "the documents of " + file + " cannot be written to a temporary file (" + e
                + "); give the folder for temporary files (-Djava.io.tmpdir) more space", e);
    }
}
