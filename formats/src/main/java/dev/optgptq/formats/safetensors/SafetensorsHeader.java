package dev.optgptq.formats.safetensors;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.json.Json;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The header of a safetensors file, parsed and checked against the size of the file. The file is
 * {@code u64 length | header, length bytes of JSON | data}; ranges in the header count from the start of the data and must
 * cover it from end to end without holes or overlaps (the format's README, section "Format").
 *
 * @param tensors by name, in the order of their data
 * @param metadata the entries of __metadata__
 * @param dataStart offset of the data in the file, in bytes
 */
record SafetensorsHeader(SequencedMap<String, Entry> tensors, Map<String, String> metadata, long dataStart) {

    /** Size of the length field, in bytes. */
    static final int LENGTH_BYTES = 8;
    /** The format's own limit on the header. */
    static final long MAX_HEADER_BYTES = 100_000_000;
    static final String METADATA = "__metadata__";

    private static final String AGAIN = "fetch it again";
    private static final String REMEDY = "the file is damaged, " + AGAIN;
    private static final ValueLayout.OfLong LITTLE_ENDIAN_LONG = ValueLayout.JAVA_LONG_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    /**
     * Where a tensor lies.
     *
     * @param begin offset of its first byte from the start of the data
     * @param end offset behind its last byte
     */
    record Entry(DType dtype, Shape shape, long begin, long end) {}

    /** Parses the header of a whole file; {@code origin} names it in messages. Throws UserError BAD_MODEL. */
    static SafetensorsHeader parse(MemorySegment file, String origin) {
        long length = headerLength(file, origin);
        ObjectNode json = Json.parseObject(headerText(file.asSlice(LENGTH_BYTES, length), origin), origin + " (header)",
                Code.BAD_MODEL);
        long dataStart = LENGTH_BYTES + length;
        Map<String, Entry> entries = new LinkedHashMap<>();
        Map<String, String> metadata = Map.of();
        for (Map.Entry<String, JsonNode> property : json.properties()) {
            String name = property.getKey();
            if (name.equals(METADATA)) {
                metadata = metadata(property.getValue(), origin);
            } else {
                entries.put(name, entry(name, property.getValue(), origin));
            }
        }
        return new SafetensorsHeader(inDataOrder(entries, file.byteSize() - dataStart, origin), metadata, dataStart);
    }

    private static long headerLength(MemorySegment file, String origin) {
        if (file.byteSize() < LENGTH_BYTES) {
            throw bad(origin, "expected a safetensors file, found " + file.byteSize() + " bytes, less than the "
                    + LENGTH_BYTES + " of the header length; " + REMEDY);
        }
        long length = file.get(LITTLE_ENDIAN_LONG, 0);
        long limit = Math.min(MAX_HEADER_BYTES, file.byteSize() - LENGTH_BYTES);
        if (length < 0 || length > limit) {
            throw bad(origin, "expected a header of at most " + limit + " bytes in a file of " + file.byteSize()
                    + ", found a header length of " + Long.toUnsignedString(length)
                    + "; the file is truncated or is not safetensors, " + AGAIN);
        }
        return length;
    }

    private static String headerText(MemorySegment header, String origin) {
        if (header.byteSize() == 0 || header.get(JAVA_BYTE, 0) != '{') {
            throw bad(origin, "expected a header that begins with '{', found "
                    + (header.byteSize() == 0 ? "an empty one" : "byte " + (header.get(JAVA_BYTE, 0) & 0xff))
                    + "; the file is not safetensors or is damaged, " + AGAIN);
        }
        return Json.decodeUtf8(header.asByteBuffer(), origin + " (header)", Code.BAD_MODEL);
    }

    private static Map<String, String> metadata(JsonNode node, String origin) {
        Map<String, String> entries = new LinkedHashMap<>();
        if (!node.isObject()) {
            throw bad(origin, METADATA + ": expected an object, found " + Json.kind(node) + "; " + REMEDY);
        }
        for (Map.Entry<String, JsonNode> property : node.properties()) {
            if (!property.getValue().isString()) {
                throw bad(origin, METADATA + " '" + property.getKey() + "': expected a string, found "
                        + Json.kind(property.getValue()) + "; " + REMEDY);
            }
            entries.put(property.getKey(), property.getValue().stringValue());
        }
        return Collections.unmodifiableMap(entries);
    }

    private static Entry entry(String name, JsonNode node, String origin) {
        String tensor = origin + ", tensor '" + name + "'";
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(name)) {
            throw bad(tensor, "expected a name of whole Unicode characters, found half a surrogate pair; " + REMEDY);
        }
        JsonNode type = node.path("dtype");
        if (!type.isString()) {
            throw bad(tensor, "expected a dtype, found " + Json.kind(type) + "; " + REMEDY);
        }
        DType dtype = DType.named(type.stringValue()).orElseThrow(() -> bad(tensor, "expected a dtype of "
                + Arrays.toString(DType.values()) + ", found " + Json.kind(type)
                + "; convert the model to one of these"));
        Shape shape = shape(longs(node.path("shape"), "shape", tensor), dtype, tensor);
        List<Long> range = longs(node.path("data_offsets"), "data_offsets", tensor);
        if (range.size() != 2 || range.get(0) > range.get(1)) {
            throw bad(tensor, "expected data_offsets [begin, end] with begin <= end, found " + range + "; " + REMEDY);
        }
        long bytes = shape.elements() * dtype.bytes();
        if (range.get(1) - range.get(0) != bytes) {
            throw bad(tensor, "expected " + bytes + " bytes for " + dtype + " " + shape + ", found data_offsets "
                    + range + ", which are " + (range.get(1) - range.get(0)) + "; " + REMEDY);
        }
        return new Entry(dtype, shape, range.get(0), range.get(1));
    }

    private static Shape shape(List<Long> dimensions, DType dtype, String tensor) {
        try {
            Shape shape = new Shape(dimensions);
            Math.multiplyExact(shape.elements(), dtype.bytes());
            return shape;
        } catch (ArithmeticException e) {
            throw new UserError(Code.BAD_MODEL, tensor + ": expected a size that 64 bits can count, found shape "
                    + dimensions + " of " + dtype + "; " + REMEDY, e);
        }
    }

    private static List<Long> longs(JsonNode node, String key, String tensor) {
        List<Long> values = new ArrayList<>();
        if (!node.isArray()) {
            throw bad(tensor, "expected an array at '" + key + "', found " + Json.kind(node) + "; " + REMEDY);
        }
        for (JsonNode value : node) {
            if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
                throw bad(tensor, "expected whole numbers from 0 to 2^63 - 1 at '" + key + "', found "
                        + Json.kind(value) + "; " + REMEDY);
            }
            values.add(value.longValue());
        }
        return values;
    }

    /** Checks that the ranges tile [0, dataBytes) and returns the entries in the order of their data. */
    private static SequencedMap<String, Entry> inDataOrder(Map<String, Entry> entries, long dataBytes, String origin) {
        SequencedMap<String, Entry> sorted = new LinkedHashMap<>();
        entries.entrySet().stream().sorted(Map.Entry.comparingByValue(Comparator.comparingLong(Entry::begin)
                .thenComparingLong(Entry::end))).forEach(entry -> sorted.put(entry.getKey(), entry.getValue()));
        long expected = 0;
        for (Map.Entry<String, Entry> item : sorted.entrySet()) {
            Entry entry = item.getValue();
            String tensor = origin + ", tensor '" + item.getKey() + "'";
            if (entry.end() > dataBytes) {
                throw bad(tensor, "expected data up to byte " + entry.end() + ", found only " + dataBytes
                        + " bytes of data; the file is truncated, " + AGAIN);
            }
            if (entry.begin() != expected) {
                throw bad(tensor,
                        "expected its data at byte " + expected + ", right behind the tensor before it, found "
                                + entry.begin() + ", which leaves "
                                + (entry.begin() > expected ? "a hole" : "an overlap") + "; "
                                + REMEDY);
            }
            expected = entry.end();
        }
        if (expected != dataBytes) {
            throw bad(origin, "expected " + expected + " bytes of data, found " + dataBytes
                    + ", the rest belongs to no tensor; " + REMEDY);
        }
        return Collections.unmodifiableSequencedMap(sorted);
    }

    private static UserError bad(String where, String what) {
        return new UserError(Code.BAD_MODEL, where + ": " + what);
    }
}
