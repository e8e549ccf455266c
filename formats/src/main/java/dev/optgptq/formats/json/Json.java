package dev.optgptq.formats.json;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.core.json.JsonWriteFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectWriter;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * The one JSON dialect of this program. Strict: a duplicate key or trailing text is an error. The exceptions are NaN and
 * Infinity, bare, which Python's json module writes and which do occur in config.json.
 */
public final class Json {

    /** No JSON file of a model comes near this; a larger one is something else under that name. */
    private static final long MAX_BYTES = 100_000_000;

    private static final JsonMapper MAPPER = JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS).enable(SerializationFeature.INDENT_OUTPUT).build();

    private static final ObjectWriter COMPACT = MAPPER.writer().without(SerializationFeature.INDENT_OUTPUT);

    private Json() {}

    /** Reads a file that holds one JSON object; throws UserError of the given code naming the file. */
    public static ObjectNode readObject(Path file, Code code) {
        return parseObject(decodeUtf8(ByteBuffer.wrap(readBytes(file, code)), file.toString(), code), file.toString(),
                code);
    }

    /** Parses one JSON object; {@code origin} names its source in messages. */
    public static ObjectNode parseObject(String text, String origin, Code code) {
        JsonNode node;
        try {
            node = MAPPER.readTree(text);
        } catch (JacksonException e) {
            throw new UserError(code, origin + ": expected valid JSON, found " + describe(e)
                    + "; the file is damaged or was edited by hand, fetch it again", e);
        }
        if (node instanceof ObjectNode object) {
            return object;
        }
        throw new UserError(code, origin + ": expected a JSON object, found " + kind(node) + "; the file is not what"
                + " its name says, fetch it again");
    }

    /** The document as indented UTF-8 text with a final newline, keys in their order. */
    public static byte[] toBytes(JsonNode json) {
        return (MAPPER.writeValueAsString(json) + "\n").getBytes(StandardCharsets.UTF_8);
    }

    /** The document as UTF-8 text without white space. */
    public static byte[] toCompactBytes(JsonNode json) {
        return COMPACT.writeValueAsBytes(json);
    }

    /** Decodes UTF-8 strictly: a malformed byte is an error, never a replacement character. */
    public static String decodeUtf8(ByteBuffer bytes, String origin, Code code) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
        } catch (CharacterCodingException e) {
            throw new UserError(code, origin + ": expected UTF-8 text, found bytes that are not; the file is damaged,"
                    + " fetch it again", e);
        }
    }

    /** What is wrong with a document and where, on one line. */
    public static String describe(JacksonException e) {
        var at = e.getLocation();
        String where = at == null ? "" : " at line " + at.getLineNr() + ", column " + at.getColumnNr();
        return "'" + e.getOriginalMessage().replaceAll("\\s+", " ").strip() + "'" + where;
    }

    /** The kind of a value in the words of the JSON standard, with the value itself when it is short. */
    public static String kind(JsonNode node) {
        return switch (node.getNodeType()) {
            case OBJECT -> "an object";
            case ARRAY -> "an array of " + node.size();
            case STRING -> "the string \"" + abbreviate(node.stringValue()) + "\"";
            case NUMBER -> "the number " + abbreviate(node.toString());
            case BOOLEAN -> node.toString();
            case NULL -> "null";
            case MISSING -> "nothing";
            case BINARY, POJO -> "a value that is not JSON";
        };
    }

    private static String abbreviate(String text) {
        return text.length() <= 80 ? text : text.substring(0, 77) + "...";
    }

    private static byte[] readBytes(Path file, Code code) {
        try {
            long size = Files.size(file);
            if (size > MAX_BYTES) {
                throw new UserError(code, file + ": expected a JSON file of at most " + MAX_BYTES + " bytes, found "
                        + size + "; this is not the file its name says");
            }
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new UserError(code, file + ": the file is missing; check the path, or fetch the model again", e);
        } catch (IOException e) {
            throw new UserError(code, file + ": cannot be read (" + e + "); check that it is a readable file", e);
        }
    }
}
