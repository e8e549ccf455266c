package dev.optgptq.formats.gguf;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.SequencedMap;

/**
 * Everything before the data, little-endian: magic, version 3, the counts; each metadata entry as key, type, value; each
 * tensor as name, dimensions from the innermost, type, offset from the start of the data. A text is its length in 8 bytes
 * and its UTF-8 (GGUF specification, "File Structure").
 */
final class GgufHeader {

    /** Of the data, and of each tensor in it: the format's default, which needs no entry of its own. */
    static final int ALIGNMENT = 32;
    private static final int VERSION = 3;

    private static final int TYPE_U32 = 4;
    private static final int TYPE_I32 = 5;
    private static final int TYPE_F32 = 6;
    private static final int TYPE_BOOL = 7;
    private static final int TYPE_STRING = 8;
    private static final int TYPE_ARRAY = 9;

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    private GgufHeader() {}

    /** Padded to the alignment: the data follows. */
    static byte[] of(SequencedMap<String, GgufValue> metadata, List<GgufTensor> tensors) {
        GgufHeader header = new GgufHeader();
        header.bytes.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
        header.putInt(VERSION);
        header.putLong(tensors.size());
        header.putLong(metadata.size());
        metadata.forEach(header::putEntry);
        long offset = 0;
        for (GgufTensor tensor : tensors) {
            header.putTensor(tensor, offset);
            offset = aligned(offset + tensor.bytes());
        }
        while (header.bytes.size() % ALIGNMENT != 0) {
            header.bytes.write(0);
        }
        return header.bytes.toByteArray();
    }

    static long aligned(long position) {
        return Math.ceilDiv(position, (long) ALIGNMENT) * ALIGNMENT;
    }

    private void putTensor(GgufTensor tensor, long offset) {
        putText(tensor.name());
        putInt(tensor.dimensions().size());
        tensor.dimensions().forEach(this::putLong);
        putInt(tensor.type().code());
        putLong(offset);
    }

    private void putEntry(String key, GgufValue value) {
        putText(key);
        switch (value) {
            case GgufValue.U32 number -> {
                putInt(TYPE_U32);
                putInt(number.value());
            }
            case GgufValue.F32 number -> {
                putInt(TYPE_F32);
                putInt(Float.floatToRawIntBits(number.value()));
            }
            case GgufValue.Flag flag -> {
                putInt(TYPE_BOOL);
                bytes.write(flag.value() ? 1 : 0);
            }
            case GgufValue.Text text -> {
                putInt(TYPE_STRING);
                putText(text.value());
            }
            case GgufValue.Texts texts -> {
                putArray(TYPE_STRING, texts.values().size());
                texts.values().forEach(this::putText);
            }
            case GgufValue.Flags list -> {
                putArray(TYPE_BOOL, list.values().size());
                list.values().forEach(flag -> bytes.write(flag ? 1 : 0));
            }
            case GgufValue.Floats floats -> {
                putArray(TYPE_F32, floats.values().size());
                floats.values().forEach(element -> putInt(Float.floatToRawIntBits(element)));
            }
            case GgufValue.Integers numbers -> {
                putArray(TYPE_I32, numbers.values().size());
                numbers.values().forEach(this::putInt);
            }
        }
    }

    private void putArray(int type, int length) {
        putInt(TYPE_ARRAY);
        putInt(type);
        putLong(length);
    }

    private void putText(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        putLong(utf8.length);
        bytes.writeBytes(utf8);
    }

    private void putInt(int value) {
        bytes.writeBytes(ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
    }

    private void putLong(long value) {
        bytes.writeBytes(ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
    }
}
