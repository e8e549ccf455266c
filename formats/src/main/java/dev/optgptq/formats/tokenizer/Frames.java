package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The protocol between this process and the tokenizing one. A request is an operation and its data; an answer is a
 * status and its data. Numbers are big-endian, a text is its length in bytes and as many of UTF-8.
 */
final class Frames {

    /** Requests: ENCODE with texts, answered by as many lists of ids; DECODE with ids, answered by a text. */
    static final int ENCODE = 1;
    static final int DECODE = 2;
    /** ENCODE_PROMPT with a text, answered by ids; DECODE_TEXT as DECODE, without special tokens. */
    static final int ENCODE_PROMPT = 3;
    static final int DECODE_TEXT = 4;

    /** Answers: DONE with the data asked for, or FAILED with a UserError's code and message. */
    static final int DONE = 0;
    static final int FAILED = 1;

    private Frames() {}

    static void writeText(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    static String readText(DataInputStream in) throws IOException {
        return new String(readBytes(in, in.readInt()), StandardCharsets.UTF_8);
    }

    static void writeTexts(DataOutputStream out, List<String> texts) throws IOException {
        out.writeInt(texts.size());
        for (String text : texts) {
            writeText(out, text);
        }
    }

    static List<String> readTexts(DataInputStream in) throws IOException {
        int count = in.readInt();
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            texts.add(readText(in));
        }
        return texts;
    }

    static void writeIds(DataOutputStream out, int[] ids) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(ids.length, Integer.BYTES));
        bytes.asIntBuffer().put(ids);
        out.writeInt(ids.length);
        out.write(bytes.array());
    }

    static int[] readIds(DataInputStream in) throws IOException {
        int[] ids = new int[in.readInt()];
        ByteBuffer.wrap(readBytes(in, Math.multiplyExact(ids.length, Integer.BYTES))).asIntBuffer().get(ids);
        return ids;
    }

    static void writeFailure(DataOutputStream out, UserError e) throws IOException {
        out.writeByte(FAILED);
        writeText(out, e.code().name());
        writeText(out, String.valueOf(e.getMessage()));
    }

    /** Returns for DONE, whose data is next; throws the UserError of FAILED. */
    static void readStatus(DataInputStream in) throws IOException {
        int status = in.readByte();
        if (status == FAILED) {
            Code code = Code.valueOf(readText(in));
            throw new UserError(code, readText(in));
        }
        if (status != DONE) {
            throw new IOException("expected a status, found " + status);
        }
    }

    private static byte[] readBytes(DataInputStream in, int length) throws IOException {
        byte[] bytes = in.readNBytes(length);
        if (bytes.length < length) {
            throw new EOFException("expected " + length + " bytes, found " + bytes.length);
        }
        return bytes;
    }
}
