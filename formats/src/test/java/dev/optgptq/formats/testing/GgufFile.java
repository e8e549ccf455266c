package dev.optgptq.formats.testing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * A GGUF file read by the specification alone, one value at a time, and its blocks decoded as ggml-quants.c does: what the
 * writer is held against. Knows nothing of the writer.
 */
public final class GgufFile {

    public record Tensor(List<Long> dimensions, int type, long offset) {}

    private final ByteBuffer bytes;
    private final Map<String, Object> metadata = new LinkedHashMap<>();
    private final Map<String, Tensor> tensors = new LinkedHashMap<>();
    private final int metadataEnd;
    private final long dataStart;

    private GgufFile(ByteBuffer bytes) {
        this.bytes = bytes.order(ByteOrder.LITTLE_ENDIAN);
        byte[] magic = new byte[4];
        bytes.get(magic);
        require("GGUF".equals(new String(magic, StandardCharsets.US_ASCII)), "magic");
        require(bytes.getInt() == 3, "version");
        long tensorCount = bytes.getLong();
        long metadataCount = bytes.getLong();
        for (long i = 0; i < metadataCount; i++) {
            String key = text();
            require(metadata.put(key, value(bytes.getInt())) == null, "twice: " + key);
        }
        this.metadataEnd = bytes.position();
        for (long i = 0; i < tensorCount; i++) {
            String name = text();
            List<Long> dimensions = new ArrayList<>();
            int rank = bytes.getInt();
            for (int d = 0; d < rank; d++) {
                dimensions.add(bytes.getLong());
            }
            require(tensors.put(name, new Tensor(dimensions, bytes.getInt(), bytes.getLong())) == null,
                    "twice: " + name);
        }
        this.dataStart = (bytes.position() + 31L) / 32 * 32;
    }

    public static GgufFile read(Path file) throws IOException {
        return new GgufFile(ByteBuffer.wrap(Files.readAllBytes(file)));
    }

    public Map<String, Object> metadata() {
        return metadata;
    }

    public Tensor tensor(String name) {
        return Objects.requireNonNull(tensors.get(name), name);
    }

    /** A tensor's values, row by row. */
    public float[] floats(String name) {
        Tensor tensor = tensor(name);
        require(tensor.offset % 32 == 0, "offset of " + name);
        int count = (int) elements(tensor.dimensions);
        int at = Math.toIntExact(dataStart + tensor.offset);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = switch (tensor.type) {
                case 0 -> bytes.getFloat(at + 4 * i);
                case 1 -> Float.float16ToFloat(bytes.getShort(at + 2 * i));
                case 2 -> q40(at + i / 32 * 18, i % 32);
                case 3 -> q41(at + i / 32 * 20, i % 32);
                case 8 ->
                    Float.float16ToFloat(bytes.getShort(at + i / 32 * 34)) * bytes.get(at + i / 32 * 34 + 2 + i % 32);
                default -> throw new IllegalStateException("type " + tensor.type);
            };
        }
        return values;
    }

    /** The same model with the values of every tensor as they are, in float32: nothing is left that a runtime could round. */
    public void writeDecoded(Path file) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        byte[] metadataBytes = new byte[metadataEnd];
        bytes.get(0, metadataBytes);
        out.write(metadataBytes);
        long offset = 0;
        for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
            byte[] name = entry.getKey().getBytes(StandardCharsets.UTF_8);
            List<Long> dimensions = entry.getValue().dimensions;
            byte[] entryBytes = new byte[8 + name.length + 4 + 8 * dimensions.size() + 4 + 8];
            ByteBuffer info = little(entryBytes).putLong(name.length).put(name).putInt(dimensions.size());
            dimensions.forEach(info::putLong);
            info.putInt(0).putLong(offset);
            out.write(entryBytes);
            offset = (offset + 4 * elements(dimensions) + 31) / 32 * 32;
        }
        for (String name : tensors.keySet()) {
            pad(out);
            float[] values = floats(name);
            byte[] data = new byte[4 * values.length];
            little(data).asFloatBuffer().put(values);
            out.write(data);
        }
        pad(out);
        Files.write(file, out.toByteArray());
    }

    private static ByteBuffer little(byte[] array) {
        return ByteBuffer.wrap(array).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static void pad(ByteArrayOutputStream out) {
        while (out.size() % 32 != 0) {
            out.write(0);
        }
    }

    private static long elements(List<Long> dimensions) {
        return dimensions.stream().reduce(1L, Math::multiplyExact);
    }

    private float q40(int block, int element) {
        return Float.float16ToFloat(bytes.getShort(block)) * (nibble(block + 2, element) - 8);
    }

    private float q41(int block, int element) {
        return Float.float16ToFloat(bytes.getShort(block)) * nibble(block + 4, element)
                + Float.float16ToFloat(bytes.getShort(block + 2));
    }

    private int nibble(int at, int element) {
        int both = bytes.get(at + element % 16) & 0xff;
        return element < 16 ? both & 15 : both >> 4;
    }

    private Object value(int type) {
        return switch (type) {
            case 4, 5 -> bytes.getInt();
            case 6 -> bytes.getFloat();
            case 7 -> bytes.get() != 0;
            case 8 -> text();
            case 9 -> {
                int of = bytes.getInt();
                long length = bytes.getLong();
                List<Object> values = new ArrayList<>();
                for (long i = 0; i < length; i++) {
                    values.add(value(of));
                }
                yield values;
            }
            default -> throw new IllegalStateException("value type " + type);
        };
    }

    private String text() {
        byte[] utf8 = new byte[Math.toIntExact(bytes.getLong())];
        bytes.get(utf8);
        return new String(utf8, StandardCharsets.UTF_8);
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }
}
