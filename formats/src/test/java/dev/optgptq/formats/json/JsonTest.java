package dev.optgptq.formats.json;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

class JsonTest {

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {"{\"a\": 1, \"a\": 2}|Duplicate", "{\"a\": 1} x|line 1",
            "{\"a\": |valid JSON", "[1, 2]|a JSON object, found an array of 2", "null|found null", "~~|found nothing",
            "\"text\"|found the string \"text\""})
    void anything_but_one_object_without_duplicates_is_refused(String text, String fragment) {
        assertUserError(Code.BAD_MODEL, () -> Json.parseObject(text, "config.json", Code.BAD_MODEL), "config.json",
                fragment);
    }

    @Test
    void nesting_without_end_is_refused_before_the_stack_is_gone() {
        assertUserError(Code.BAD_MODEL,
                () -> Json.parseObject("{\"a\":" + "[".repeat(1_000_000), "config.json", Code.BAD_MODEL),
                "config.json");
    }

    @Test
    void bare_infinity_as_python_writes_it_is_read_and_written_back_the_same() {
        JsonNode json = Json.parseObject("{\"limit\":[0.0,Infinity,NaN]}", "config.json", Code.BAD_MODEL);
        assertEquals("{\"limit\":[0.0,Infinity,NaN]}",
                new String(Json.toCompactBytes(json), StandardCharsets.UTF_8).strip());
    }

    @Test
    void keys_keep_their_order_and_text_ends_with_a_newline() {
        String text = new String(Json.toBytes(Json.parseObject("{\"b\":1,\"a\":2}", "x", Code.BAD_MODEL)),
                StandardCharsets.UTF_8);
        assertTrue(text.indexOf("\"b\"") < text.indexOf("\"a\"") && text.endsWith("}\n"), text);
    }

    @Test
    void bytes_that_are_not_utf8_are_refused_with_the_file_named(@TempDir Path directory) throws IOException {
        Path file = Files.write(directory.resolve("config.json"),
                new byte[] {'{', '"', (byte) 0xc3, '"', ':', '1', '}'});
        assertUserError(Code.BAD_MODEL, () -> Json.readObject(file, Code.BAD_MODEL), file.toString(), "UTF-8");
    }

    @Test
    void a_missing_file_or_a_directory_is_named(@TempDir Path directory) {
        assertUserError(Code.BAD_MODEL, () -> Json.readObject(directory.resolve("no.json"), Code.BAD_MODEL), "no.json",
                "missing");
        assertUserError(Code.BAD_MODEL, () -> Json.readObject(directory, Code.BAD_MODEL), directory.toString(),
                "found a directory");
    }

    @Test
    void a_byte_order_mark_of_utf8_is_left_out_and_one_of_utf16_is_named(@TempDir Path directory) throws IOException {
        Path file = Files.writeString(directory.resolve("config.json"), "\uFEFF{\"a\":1}");
        assertEquals(1, Json.readObject(file, Code.BAD_MODEL).path("a").intValue());
        for (Charset charset : List.of(StandardCharsets.UTF_16LE, StandardCharsets.UTF_16BE)) {
            Files.writeString(file, "\uFEFF{\"a\":1}", charset);
            assertUserError(Code.BAD_MODEL, () -> Json.readObject(file, Code.BAD_MODEL), file.toString(), "UTF-16",
                    "save the file as UTF-8");
        }
    }

    @Test
    void a_file_larger_than_its_kind_is_refused_unread(@TempDir Path directory) throws IOException {
        Path file = Files.createFile(directory.resolve("config.json"));
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(new byte[] {'}'}), 99_000_000);
        }
        assertUserError(Code.BAD_MODEL, () -> Json.readObject(file, Code.BAD_MODEL), file.toString(),
                "at most 8388608 bytes", "found 99000001");
        assertUserError(Code.BAD_MODEL, () -> Json.readObject(file, Json.Limit.INDEX, Code.BAD_MODEL),
                "at most 67108864 bytes");
    }
}
