package dev.optgptq.formats.safetensors;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.testing.RawSafetensors;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsHeaderTest {

    @Test
    void a_sound_header_gives_tensors_in_the_order_of_their_data() {
        SafetensorsHeader header = parse("""
                {"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},
                 "__metadata__":{"format":"pt"},
                 "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}\040\040\s""", 16);
        assertEquals(List.of("a", "b"), List.copyOf(header.tensors().keySet()));
        assertEquals(new SafetensorsHeader.Entry(DType.F16, Shape.of(2, 3), 4, 16), header.tensors().get("b"));
        assertEquals(Map.of("format", "pt"), header.metadata());
    }

    @Test
    void empty_tensors_take_no_bytes_and_may_lie_anywhere_between_others() {
        SafetensorsHeader header = parse("""
                {"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
                 "none":{"dtype":"F32","shape":[0,7],"data_offsets":[2,2]},
                 "y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}""", 3);
        assertEquals(3, header.tensors().size());
    }

    @Test
    void a_file_without_tensors_is_sound() {
        assertEquals(Map.of(), parse("{}", 0).tensors());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', ignoreLeadingAndTrailingWhitespace = false, value = {
            // header | bytes of data | what the message must say
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}|4|up to byte 8, found only 4",
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}|9|expected 8 bytes of data, found 9",
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}|4|expected 8 bytes for F32 [2]",
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}|8|a hole",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"v\":{\"dtype\":\"U8\",\"shape\":[4],"
                    + "\"data_offsets\":[2,6]}}|6|an overlap",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"v\":{\"dtype\":\"U8\",\"shape\":[4],"
                    + "\"data_offsets\":[0,4]}}|4|an overlap",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}}|4|begin <= end",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,8]}}|4|[begin, end]",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}}|4|found the number -4",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4.0],\"data_offsets\":[0,4]}}|4|found the number 4.0",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]}}|4|to 2^63 - 1",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[-4,0]}}|4|'data_offsets'",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}|0|64 bits",
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}|0|64 bits",
            "{\"w\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,4]}}|4|found the string \"F4\"",
            "{\"w\":{\"shape\":[4],\"data_offsets\":[0,4]}}|4|expected a dtype, found nothing",
            "{\"w\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}|4|'shape', found nothing",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4]}}|4|'data_offsets', found nothing",
            "{\"w\":[]}|0|expected a dtype", "{\"w\":null}|0|expected a dtype",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"w\":{\"dtype\":\"U8\",\"shape\":[0],"
                    + "\"data_offsets\":[0,0]}}|0|Duplicate",
            "{\"w\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}}|0|Duplicate",
            "{\"__metadata__\":{\"a\":1}}|0|expected a string, found the number 1",
            "{\"__metadata__\":[]}|0|expected an object",
            "{\"\\ud800\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}|0|surrogate",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}} x|4|valid JSON", "{|0|valid JSON",
            " {}|0|begins with '{'", "[]|0|begins with '{'", "~~|0|an empty one"})
    void a_header_that_does_not_describe_the_data_is_refused(String header, int dataBytes, String fragment) {
        assertUserError(Code.BAD_MODEL, () -> parse(header, dataBytes), "broken.safetensors", fragment);
    }

    @Test
    void the_tensor_at_fault_is_named() {
        assertUserError(Code.BAD_MODEL, () -> parse("""
                {"model.layers.3.mlp.down_proj.weight":{"dtype":"BF16","shape":[2],"data_offsets":[0,2]}}""", 2),
                "broken.safetensors, tensor 'model.layers.3.mlp.down_proj.weight'");
    }

    @ParameterizedTest
    @ValueSource(longs = {3, 100_000_001, 1L << 40, -1, Long.MIN_VALUE})
    void a_header_longer_than_the_file_or_the_format_allows_is_refused(long length) {
        byte[] file = ByteBuffer.allocate(10).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array();
        assertUserError(Code.BAD_MODEL, () -> parse(file), "at most 2 bytes", Long.toUnsignedString(length));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7})
    void a_file_shorter_than_its_length_field_is_refused(int bytes) {
        assertUserError(Code.BAD_MODEL, () -> parse(new byte[bytes]), "found " + bytes + " bytes");
    }

    @Test
    void a_header_in_another_encoding_is_refused() {
        assertUserError(Code.BAD_MODEL,
                () -> parse(RawSafetensors.file("{}".getBytes(StandardCharsets.UTF_16LE), new byte[0])), "valid JSON");
        assertUserError(Code.BAD_MODEL,
                () -> parse(RawSafetensors.file(new byte[] {'{', '"', (byte) 0xff, '"', '}'}, new byte[0])), "UTF-8");
    }

    @Test
    void a_header_of_97_megabytes_is_read_as_a_stream_and_its_entries_are_counted() {
        int entries = HeaderParser.MAX_ENTRIES + 1;
        String padding = " ".repeat(97_000_000 / entries - 60);
        StringBuilder header = new StringBuilder("{");
        for (int i = 0; i < entries; i++) {
            header.append(i == 0 ? "" : ",").append('"').append(i).append('"').append(padding)
                    .append(":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
        }
        byte[] file = RawSafetensors.file(header.append('}').toString(), 0);
        assertUserError(Code.BAD_MODEL, () -> parse(file), "at most 262144 tensors");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[0,1]}}|at most 64 dimensions",
            "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%s]}}|[begin, end]"})
    void an_array_without_end_is_refused_where_it_is_too_long(String header, String fragment) {
        String ones = "1,".repeat(1_000_000) + "1";
        assertUserError(Code.BAD_MODEL, () -> parse(header.replace("%s", ones), 1), fragment);
    }

    @Test
    void what_an_entry_says_beyond_the_format_is_skipped() {
        assertEquals(1, parse("""
                {"w":{"note":{"a":[1,{"b":null}]},"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", 1).tensors()
                .size());
    }

    private static SafetensorsHeader parse(String header, int dataBytes) {
        return parse(RawSafetensors.file(header, dataBytes));
    }

    private static SafetensorsHeader parse(byte[] file) {
        return SafetensorsHeader.parse(MemorySegment.ofArray(file), "broken.safetensors");
    }
}
