package dev.optgptq.formats.json;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.files.InputFiles;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
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

    /**
     * Kinds of files with their size limits: reading takes memory and time in proportion, and a larger file is not of
     * that kind.
     */
    public enum Limit {
        /** Settings: 8 MiB. The largest known, a config with 22,000 class labels, is 2 MB. */
        SETTINGS(8L << 20),
        /** A line for each tensor: 64 MiB. That of a model of 1,000 billion parameters in 8 bits is 12 MB. */
        INDEX(64L << 20),
        /** Vocabulary and merges: 128 MiB. The largest known is 33 MB. */
        TOKENIZER(128L << 20);

        private final long bytes;

        Limit(long bytes) {
            this.bytes = bytes;
        }
    }

    /** Some editors begin a file of UTF-8 with this; Python's "utf-8-sig" drops it as we do. */
    private static final byte[] UTF8_MARK = {(byte) 0xef, (byte) 0xbb, (byte) 0xbf};

    private static final JsonMapper MAPPER = JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS).enable(SerializationFeature.INDENT_OUTPUT).build();

    private static final ObjectWriter COMPACT = MAPPER.writer().without(SerializationFeature.INDENT_OUTPUT);

    private Json() {}

    /** Reads settings from a file that holds one JSON object; throws UserError of the given code naming the file. */
    public static ObjectNode readObject(Path file, Code code) {
        return readObject(file, Limit.SETTINGS, code);
    }

    /** Reads a file that holds one JSON object; throws UserError of the given code naming the file. */
    public static ObjectNode readObject(Path file, Limit limit, Code code) {
        byte[] bytes = InputFiles.read(file, limit.bytes, code);
        return parseObject(decodeUtf8(ByteBuffer.wrap(bytes), file.toString(), code), file.toString(), code);
    }

    /** Reads a JSON object that comes with the program, beside a class or, with a leading slash, at its place. */
    public static ObjectNode bundled(Class<?> owner, String resource) {
        try (InputStream in = owner.getResourceAsStream(resource)) {
            if (in == null) {
                throw new IllegalStateException("no resource " + resource);
            }
            return parseObject(new String(in.readAllBytes(), StandardCharsets.UTF_8), resource, Code.BAD_SETTING);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
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

    /**
     * Decodes UTF-8 strictly: a malformed byte is an error, never a replacement character. A byte order mark of UTF-8 at
     * the start is left out, one of UTF-16 is named.
     */
    public static String decodeUtf8(ByteBuffer bytes, String origin, Code code) {
        ByteBuffer text = bytes.slice();
        if (startsWith(text, UTF8_MARK)) {
            text.position(UTF8_MARK.length);
        }
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(text).toString();
        } catch (CharacterCodingException e) {
            boolean utf16 = startsWith(bytes.slice(), new byte[] {(byte) 0xff, (byte) 0xfe})
                    || startsWith(bytes.slice(), new byte[] {(byte) 0xfe, (byte) 0xff});
            throw new UserError(code, origin + ": expected UTF-8 text, found " + (utf16
                    ? "the byte order mark of UTF-16; save the file as UTF-8"
                    : "bytes that are not; the file is damaged, fetch it again"), e);
        }
    }

    private static boolean startsWith(ByteBuffer bytes, byte[] start) {
        return bytes.remaining() >= start.length
                && bytes.slice(bytes.position(), start.length).equals(ByteBuffer.wrap(start));
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

    /** At most 80 characters of it. */
    public static String abbreviate(String text) {
        return text.length() <= 80 ? text : text.substring(0, 77) + "...";
    }
}
