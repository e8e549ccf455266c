package dev.optgptq.formats.safetensors;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.safetensors.SafetensorsHeader.Entry;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;

/**
 * Reads the JSON of a header as a stream, entry by entry, so that a header of 100 MB costs no more memory than the entries
 * in it, of which there may be {@link #MAX_ENTRIES}. Everything that is wrong in the JSON itself is an error here.
 */
final class HeaderParser {

    /** Tensors in one file. The largest model of 2026 has 281,000, packed, in 62 files. */
    static final int MAX_ENTRIES = 1 << 18;
    /** PyTorch's own limit on dimensions. */
    private static final int MAX_RANK = 64;
    private static final int MAX_METADATA_CHARS = 1 << 24;

    private static final JsonFactory JSON = JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder().maxStringLength(MAX_METADATA_CHARS).build())
            .build();

    private final JsonParser json;
    private final String origin;
    private final Map<String, Entry> tensors = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    private HeaderParser(JsonParser json, String origin) {
        this.json = json;
        this.origin = origin;
    }

    /**
     * The entries of a header, whose ranges are not checked against each other yet. Throws UserError BAD_MODEL.
     *
     * @param header the JSON, with nothing before it
     * @param origin names the file in messages
     */
    static HeaderParser parse(MemorySegment header, String origin) {
        if (header.byteSize() == 0 || header.get(JAVA_BYTE, 0) != '{') {
            throw bad(origin, "expected a header that begins with '{', found "
                    + (header.byteSize() == 0 ? "an empty one" : "byte " + (header.get(JAVA_BYTE, 0) & 0xff))
                    + "; the file is not safetensors or is damaged, " + SafetensorsHeader.AGAIN);
        }
        // A decoder of its own, because the parser's lets some malformed UTF-8 pass.
        InputStreamReader text = new InputStreamReader(new Bytes(header.asByteBuffer()),
                StandardCharsets.UTF_8.newDecoder());
        try (JsonParser json = JSON.createParser(ObjectReadContext.empty(), text)) {
            HeaderParser parser = new HeaderParser(json, origin);
            parser.read();
            return parser;
        } catch (JacksonException e) {
            throw new UserError(Code.BAD_MODEL, origin + " (header): expected valid JSON in UTF-8, found "
                    + Json.describe(e) + "; " + SafetensorsHeader.REMEDY, e);
        }
    }

    Map<String, Entry> tensors() {
        return tensors;
    }

    Map<String, String> metadata() {
        return metadata;
    }

    private void read() {
        json.nextToken();
        for (String name = json.nextName(); name != null; name = json.nextName()) {
            json.nextToken();
            if (name.equals(SafetensorsHeader.METADATA)) {
                readMetadata();
            } else {
                tensors.put(name, entry(name));
            }
            if (tensors.size() > MAX_ENTRIES) {
                throw bad(origin, "expected at most " + MAX_ENTRIES + " tensors in one file, found more; split the"
                        + " model into shards");
            }
        }
        if (json.nextToken() != null) {
            throw bad(origin + " (header)", "expected valid JSON that ends with its object, found " + found()
                    + " after it; " + SafetensorsHeader.REMEDY);
        }
    }

    private void readMetadata() {
        if (json.currentToken() != JsonToken.START_OBJECT) {
            throw bad(origin, SafetensorsHeader.METADATA + ": expected an object, found " + found() + "; "
                    + SafetensorsHeader.REMEDY);
        }
        long characters = 0;
        for (String key = json.nextName(); key != null; key = json.nextName()) {
            if (json.nextToken() != JsonToken.VALUE_STRING) {
                throw bad(origin, SafetensorsHeader.METADATA + " '" + key + "': expected a string, found " + found()
                        + "; " + SafetensorsHeader.REMEDY);
            }
            metadata.put(key, json.getString());
            characters += key.length() + json.getStringLength();
            if (metadata.size() > MAX_ENTRIES || characters > MAX_METADATA_CHARS) {
                throw bad(origin, SafetensorsHeader.METADATA + ": expected at most " + MAX_ENTRIES + " entries of "
                        + MAX_METADATA_CHARS + " characters in all, found more; " + SafetensorsHeader.REMEDY);
            }
        }
    }

    private Entry entry(String name) {
        String tensor = origin + ", tensor '" + name + "'";
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(name)) {
            throw bad(tensor, "expected a name of whole Unicode characters, found half a surrogate pair; "
                    + SafetensorsHeader.REMEDY);
        }
        if (json.currentToken() != JsonToken.START_OBJECT) {
            throw bad(tensor, "expected a dtype, a shape and data_offsets, found " + found() + "; "
                    + SafetensorsHeader.REMEDY);
        }
        DType dtype = null;
        List<Long> dimensions = null;
        List<Long> range = null;
        for (String key = json.nextName(); key != null; key = json.nextName()) {
            json.nextToken();
            switch (key) {
                case "dtype" -> dtype = dtype(tensor);
                case "shape" -> dimensions = longs(key, MAX_RANK, tensor);
                case "data_offsets" -> range = longs(key, 2, tensor);
                default -> json.skipChildren();
            }
        }
        return entry(require(dtype, "dtype", tensor), require(dimensions, "shape", tensor),
                require(range, "data_offsets", tensor), tensor);
    }

    private static Entry entry(DType dtype, List<Long> dimensions, List<Long> range, String tensor) {
        if (range.size() != 2 || range.get(0) > range.get(1)) {
            throw bad(tensor, "expected data_offsets [begin, end] with begin <= end, found " + range + "; "
                    + SafetensorsHeader.REMEDY);
        }
        Shape shape = shape(dimensions, dtype, tensor);
        long bytes = shape.elements() * dtype.bytes();
        if (range.get(1) - range.get(0) != bytes) {
            throw bad(tensor, "expected " + bytes + " bytes for " + dtype + " " + shape + ", found data_offsets "
                    + range + ", which are " + (range.get(1) - range.get(0)) + "; " + SafetensorsHeader.REMEDY);
        }
        return new Entry(dtype, shape, range.get(0), range.get(1));
    }

    private static <T> T require(@Nullable T value, String key, String tensor) {
        if (value == null) {
            throw bad(tensor, "expected " + (key.equals("dtype") ? "a dtype" : "an array at '" + key + "'")
                    + ", found nothing; " + SafetensorsHeader.REMEDY);
        }
        return value;
    }

    private DType dtype(String tensor) {
        if (json.currentToken() != JsonToken.VALUE_STRING) {
            throw bad(tensor, "expected a dtype, found " + found() + "; " + SafetensorsHeader.REMEDY);
        }
        return DType.named(json.getString()).orElseThrow(() -> bad(tensor, "expected a dtype of "
                + Arrays.toString(DType.values()) + ", found " + found()
                + "; convert the model to one of these"));
    }

    private static Shape shape(List<Long> dimensions, DType dtype, String tensor) {
        try {
            Shape shape = new Shape(dimensions);
            Math.multiplyExact(shape.elements(), dtype.bytes());
            return shape;
        } catch (ArithmeticException e) {
            throw new UserError(Code.BAD_MODEL, tensor + ": expected a size that 64 bits can count, found shape "
                    + dimensions + " of " + dtype + "; " + SafetensorsHeader.REMEDY, e);
        }
    }

    private List<Long> longs(String key, int most, String tensor) {
        if (json.currentToken() != JsonToken.START_ARRAY) {
            throw bad(tensor, "expected an array at '" + key + "', found " + found() + "; "
                    + SafetensorsHeader.REMEDY);
        }
        List<Long> values = new ArrayList<>();
        while (json.nextToken() != JsonToken.END_ARRAY) {
            if (json.currentToken() != JsonToken.VALUE_NUMBER_INT || !isLong() || json.getLongValue() < 0) {
                throw bad(tensor, "expected whole numbers from 0 to 2^63 - 1 at '" + key + "', found " + found() + "; "
                        + SafetensorsHeader.REMEDY);
            }
            values.add(json.getLongValue());
            if (values.size() > most) {
                throw bad(tensor, "expected " + (most == 2
                        ? "data_offsets [begin, end]"
                        : "at most " + most
                                + " dimensions")
                        + ", found more at '" + key + "'; " + SafetensorsHeader.REMEDY);
            }
        }
        return values;
    }

    private boolean isLong() {
        return switch (json.getNumberType()) {
            case INT, LONG -> true;
            case BIG_INTEGER, FLOAT, DOUBLE, BIG_DECIMAL -> false;
        };
    }

    /** The current value, in the terms of the JSON standard. */
    private String found() {
        return switch (json.currentToken()) {
            case START_OBJECT -> "an object";
            case START_ARRAY -> "an array";
            case VALUE_STRING -> "the string \"" + Json.abbreviate(json.getString()) + "\"";
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> "the number " + Json.abbreviate(json.getString());
            case VALUE_TRUE -> "true";
            case VALUE_FALSE -> "false";
            case VALUE_NULL -> "null";
            case END_OBJECT, END_ARRAY, PROPERTY_NAME, VALUE_EMBEDDED_OBJECT, NOT_AVAILABLE -> "nothing";
        };
    }

    private static UserError bad(String where, String what) {
        return new UserError(Code.BAD_MODEL, where + ": " + what);
    }

    /** The bytes of a buffer as a stream. */
    private static final class Bytes extends InputStream {

        private final ByteBuffer buffer;

        Bytes(ByteBuffer buffer) {
            this.buffer = buffer;
        }

        @Override
        public int read() {
            return buffer.hasRemaining() ? buffer.get() & 0xff : -1;
        }

        @Override
        public int read(byte[] into, int at, int length) {
            if (!buffer.hasRemaining()) {
                return -1;
            }
            int taken = Math.min(length, buffer.remaining());
            buffer.get(into, at, taken);
            return taken;
        }
    }
}
