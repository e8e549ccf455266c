package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Reads text strictly: bytes that are not UTF-8 are an error, not a replacement character. */
final class TextFiles {

    /** What fits a Java string with room to spare. */
    private static final long MOST_BYTES = 1L << 30;

    private TextFiles() {}

    static String read(Path file) {
        try {
            long bytes = Files.size(file);
            if (bytes > MOST_BYTES) {
                throw badText(file + " holds " + bytes + " bytes; at most " + MOST_BYTES
                        + " of plain text can be read: cut it, or give a .jsonl, which is read document by document");
            }
            String text = decode(ByteBuffer.wrap(Files.readAllBytes(file)), file.toString());
            if (text.isBlank()) {
                throw badText(file + " holds no text");
            }
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
            return decoder.decode(bytes).toString();
        } catch (CharacterCodingException e) {
            throw new UserError(UserError.Code.BAD_TEXT, origin + " is not UTF-8 from byte " + bytes.position()
                    + " on; convert it, or give a .txt or .jsonl file", e);
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
