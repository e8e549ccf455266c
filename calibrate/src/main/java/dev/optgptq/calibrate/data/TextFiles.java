package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.json.JsonMapper;

/** Reads text strictly: bytes that are not UTF-8 are an error, not a replacement character. */
final class TextFiles {

    /** Fits into a Java string with room to spare. */
    private static final long MOST_BYTES = 1L << 30;

    private static final String BYTE_ORDER_MARK = "\uFEFF";
    private static final Set<Integer> UTF16_MARKS = Set.of(0xfeff, 0xfffe);
    private static final String LFS_POINTER = "version https://git-lfs.github.com/spec/";

    private static final JsonMapper JSON = new JsonMapper();

    private TextFiles() {}

    static String read(Path file) {
        try {
            long bytes = Files.size(file);
            if (bytes > MOST_BYTES) {
                throw badText(file + " holds " + bytes + " bytes; at most " + MOST_BYTES
                        + " of plain text can be read: cut it, or give a .jsonl, which is read document by document");
            }
            requireNoPointer(file);
            String text = decode(ByteBuffer.wrap(Files.readAllBytes(file)), file.toString());
            if (text.isBlank()) {
                throw badText(file + " holds no text");
            }
            requireProse(text, file);
            return text;
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    /** @param origin names the place in messages */
    static String decode(ByteBuffer bytes, String origin) {
        CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT);
        try {
            String text = decoder.decode(bytes).toString();
            return text.startsWith(BYTE_ORDER_MARK) ? text.substring(1) : text;
        } catch (CharacterCodingException e) {
            if (bytes.limit() > 1 && UTF16_MARKS.contains(Short.toUnsignedInt(bytes.getShort(0)))) {
                throw new UserError(UserError.Code.BAD_TEXT,
                        origin + " begins with the byte order mark of UTF-16; save it as"
                                + " UTF-8",
                        e);
            }
            throw new UserError(UserError.Code.BAD_TEXT, origin + " is not UTF-8 from byte " + bytes.position()
                    + " on; convert it, or give a .txt or .jsonl file", e);
        }
    }

    /** UserError BAD_TEXT for a Git LFS pointer. */
    static void requireNoPointer(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            if (new String(in.readNBytes(LFS_POINTER.length()), StandardCharsets.ISO_8859_1).equals(LFS_POINTER)) {
                throw badText(file + ": expected the text itself, found a Git LFS pointer to it; run 'git lfs pull' in"
                        + " its repository");
            }
        }
    }

    /** The syntax of JSON must not become calibration text. */
    private static void requireProse(String text, Path file) {
        String start = text.substring(0, Math.min(text.length(), 4096)).stripLeading();
        if ((start.startsWith("[") || start.startsWith("{")) && isJson(text)) {
            throw badText(
                    file + ": expected plain text, found JSON, whose syntax would become text; name it .json if"
                            + " it is an array, or .jsonl if each line is an object");
        }
    }

    /** One JSON value, or objects one after the other. Prose that begins with a bracket is neither. */
    private static boolean isJson(String text) {
        try (JsonParser json = JSON.createParser(text)) {
            JsonToken first = json.nextToken();
            json.skipChildren();
            JsonToken second = json.nextToken();
            return second == null || (first == JsonToken.START_OBJECT && second == JsonToken.START_OBJECT);
        } catch (JacksonException notJson) {
            return false;
        }
    }

    static UserError unreadable(Path file, IOException e) {
        String why = Files.exists(file) ? String.valueOf(e.getMessage()) : "there is no such file";
        return new UserError(UserError.Code.BAD_TEXT, "cannot read text from " + file + ": " + why, e);
    }

    static UserError badText(String message) {
        return new UserError(UserError.Code.BAD_TEXT, message);
    }
}
