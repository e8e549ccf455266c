package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

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

    static final String AGAIN = "fetch it again";
    static final String REMEDY = "the file is damaged, " + AGAIN;
    private static final ValueLayout.OfLong LITTLE_ENDIAN_LONG = ValueLayout.JAVA_LONG_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    /**
     * Range of a tensor.
     *
     * @param begin offset of its first byte from the start of the data
     * @param end offset after its last byte
     */
    record Entry(DType dtype, Shape shape, long begin, long end) {}

    /** Parses the header of a whole file; {@code origin} names it in messages. Throws UserError BAD_MODEL. */
    static SafetensorsHeader parse(MemorySegment file, String origin) {
        long length = headerLength(file, origin);
        HeaderParser parsed = HeaderParser.parse(file.asSlice(LENGTH_BYTES, length), origin);
        long dataStart = LENGTH_BYTES + length;
        return new SafetensorsHeader(inDataOrder(parsed.tensors(), file.byteSize() - dataStart, origin),
                Collections.unmodifiableMap(parsed.metadata()), dataStart);
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
                        "expected its data at byte " + expected + ", right after the preceding tensor, found "
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
