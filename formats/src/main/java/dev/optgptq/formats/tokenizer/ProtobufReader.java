package dev.optgptq.formats.tokenizer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * The fields of one protocol buffers message, in their order (protobuf.dev, "Encoding"): a key of number and wire type, then a varint,
 * 8 or 4 bytes, or a length and as many bytes. Throws MalformedException for anything else; nothing is read beyond the buffer.
 */
final class ProtobufReader {

    private static final int VARINT = 0;
    private static final int EIGHT = 1;
    private static final int BYTES = 2;
    private static final int FOUR = 5;
    private static final int VARINT_BITS = 64;

    /** The bytes are no message. */
    static final class MalformedException extends Exception {
        private static final long serialVersionUID = 1L;

        MalformedException(String message) {
            super(message);
        }
    }

    private final ByteBuffer buffer;
    private int field;
    private int wireType;

    ProtobufReader(ByteBuffer message) {
        this.buffer = message.slice().order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Moves to the next field, whose value must then be taken or skipped; false at the end. */
    boolean next() throws MalformedException {
        if (!buffer.hasRemaining()) {
            return false;
        }
        long key = varint();
        if (key >>> 3 == 0 || key >>> 3 > Integer.MAX_VALUE) {
            throw new MalformedException("a field of number " + (key >>> 3));
        }
        field = (int) (key >>> 3);
        wireType = (int) key & 7;
        return true;
    }

    int field() {
        return field;
    }

    /** A whole number or flag. */
    long number() throws MalformedException {
        require(VARINT);
        return varint();
    }

    boolean flag() throws MalformedException {
        return number() != 0;
    }

    float real() throws MalformedException {
        require(FOUR);
        return take(Float.BYTES).getFloat();
    }

    /** A message in this one, or bytes. */
    ByteBuffer bytes() throws MalformedException {
        require(BYTES);
        return take(varint());
    }

    String text() throws MalformedException {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(bytes()).toString();
        } catch (CharacterCodingException e) {
            throw new MalformedException("a text that is not UTF-8 in field " + field);
        }
    }

    void skip() throws MalformedException {
        switch (wireType) {
            case VARINT -> varint();
            case EIGHT -> take(Long.BYTES);
            case BYTES -> take(varint());
            case FOUR -> take(Float.BYTES);
            default -> throw new MalformedException("a field of wire type " + wireType);
        }
    }

    private void require(int expected) throws MalformedException {
        if (wireType != expected) {
            throw new MalformedException("wire type " + wireType + " in field " + field + " instead of " + expected);
        }
    }

    private ByteBuffer take(long length) throws MalformedException {
        if (length < 0 || length > buffer.remaining()) {
            throw new MalformedException("a field of " + Long.toUnsignedString(length) + " bytes with "
                    + buffer.remaining() + " left");
        }
        ByteBuffer taken = buffer.slice(buffer.position(), (int) length).order(ByteOrder.LITTLE_ENDIAN);
        buffer.position(buffer.position() + (int) length);
        return taken;
    }

    private long varint() throws MalformedException {
        long value = 0;
        for (int shift = 0; shift < VARINT_BITS; shift += 7) {
            if (!buffer.hasRemaining()) {
                throw new MalformedException("an end within a number");
            }
            byte next = buffer.get();
            value |= (next & 0x7fL) << shift;
            if (next >= 0) {
                return value;
            }
        }
        throw new MalformedException("a number of more than 10 bytes");
    }
}
