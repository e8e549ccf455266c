package dev.optgptq.formats.packed;

import static dev.optgptq.formats.testing.Failures.assertRefused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The packed layouts against a reference of another kind: one BigInteger per row of the bit stream. */
class PackingTest {

    @ParameterizedTest
    @CsvSource({"2, 0, aaaaaaaa", "2, 1, 55555555", "3, 0, 24924924 49249249 92492492",
            "3, 1, db6db6db b6db6db6 6db6db6d", "4, 0, 88888888", "4, 1, 77777777", "8, 0, 80808080",
            "8, 1, 7f7f7f7f"})
    void symmetric_zero_points_are_the_constant_words_of_published_checkpoints(int bits, int zeroOffset, String words) {
        int[] expected = Arrays.stream(words.split(" ")).mapToInt(w -> Integer.parseUnsignedInt(w, 16)).toArray();
        int[] zeros = IntStream.generate(() -> 1 << (bits - 1)).limit(32).toArray();
        int[] qzeros = packZeros(zeros, bits, 1, 32, zeroOffset);
        for (int i = 0; i < qzeros.length; i++) {
            assertEquals(expected[i % expected.length], qzeros[i], "word " + i);
        }
        assertArrayEquals(qzeros, Packing.symmetricZeroWords(bits, zeroOffset));
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 8})
    void weights_are_a_little_endian_bit_stream_along_the_inputs(int bits) {
        for (long seed = 0; seed < 20; seed++) {
            Random random = new Random(seed);
            int inputs = 32 * (1 + random.nextInt(6));
            int outputs = 1 + random.nextInt(40);
            byte[] codes = randomCodes(random, inputs * outputs, bits);
            int[] words = packWeights(codes, bits, inputs, outputs);
            for (int output = 0; output < outputs; output++) {
                int column = output;
                int[] expected = stream(
                        IntStream.range(0, inputs).map(i -> codes[i * outputs + column] & 0xff).toArray(), bits);
                int[] found = IntStream.range(0, inputs * bits / 32).map(w -> words[w * outputs + column]).toArray();
                assertArrayEquals(expected, found, "seed " + seed + ", output " + output);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"2, 0", "2, 1", "3, 0", "3, 1", "4, 0", "4, 1", "8, 0", "8, 1"})
    void zero_points_are_a_little_endian_bit_stream_along_the_outputs(int bits, int zeroOffset) {
        for (long seed = 0; seed < 20; seed++) {
            Random random = new Random(seed);
            int groups = 1 + random.nextInt(5);
            int outputs = 32 * (1 + random.nextInt(4));
            int[] zeros = random.ints((long) groups * outputs, 0, 1 << bits).toArray();
            int[] words = packZeros(zeros, bits, groups, outputs, zeroOffset);
            int rowWords = outputs * bits / 32;
            for (int group = 0; group < groups; group++) {
                int row = group * outputs;
                int[] expected = stream(IntStream.range(0, outputs)
                        .map(o -> Math.floorMod(zeros[row + o] - zeroOffset, 1 << bits)).toArray(), bits);
                int[] found = IntStream.range(group * rowWords, (group + 1) * rowWords).map(w -> words[w]).toArray();
                assertArrayEquals(expected, found, "seed " + seed + ", group " + group);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 4, 8})
    void unpacking_weights_gives_back_the_codes(int bits) {
        for (long seed = 0; seed < 20; seed++) {
            Random random = new Random(seed);
            int inputs = 32 * (1 + random.nextInt(6));
            int outputs = 1 + random.nextInt(40);
            byte[] codes = randomCodes(random, inputs * outputs, bits);
            byte[] unpacked = new byte[codes.length];
            Packing.unpackWeights(MemorySegment.ofArray(packWeights(codes, bits, inputs, outputs)), bits, inputs,
                    outputs, MemorySegment.ofArray(unpacked));
            assertArrayEquals(codes, unpacked, "seed " + seed);
        }
    }

    @ParameterizedTest
    @CsvSource({"2, 0", "2, 1", "3, 0", "3, 1", "4, 0", "4, 1", "8, 0", "8, 1"})
    void unpacking_zero_points_gives_them_back(int bits, int zeroOffset) {
        for (long seed = 0; seed < 20; seed++) {
            Random random = new Random(seed);
            int groups = 1 + random.nextInt(5);
            int outputs = 32 * (1 + random.nextInt(4));
            int[] zeros = random.ints((long) groups * outputs, 0, 1 << bits).toArray();
            int[] unpacked = new int[zeros.length];
            Packing.unpackZeros(MemorySegment.ofArray(packZeros(zeros, bits, groups, outputs, zeroOffset)), bits,
                    groups, outputs, zeroOffset, MemorySegment.ofArray(unpacked));
            assertArrayEquals(zeros, unpacked, "seed " + seed);
        }
    }

    @Test
    void packed_words_may_lie_at_any_address() {
        byte[] codes = randomCodes(new Random(1), 32 * 3, 3);
        byte[] memory = new byte[1 + 9 * Integer.BYTES];
        Packing.packWeights(MemorySegment.ofArray(codes), 3, 32, 3, MemorySegment.ofArray(memory).asSlice(1));
        byte[] unpacked = new byte[codes.length];
        Packing.unpackWeights(MemorySegment.ofArray(memory).asSlice(1), 3, 32, 3, MemorySegment.ofArray(unpacked));
        assertArrayEquals(codes, unpacked);
    }

    @Test
    void a_code_too_large_for_its_bits_is_refused_and_named() {
        byte[] codes = new byte[32 * 2];
        codes[5 * 2 + 1] = 4;
        assertRefused(() -> packWeights(codes, 2, 32, 2), "[5, 1]: expected a code of 2 bits, found 4");
    }

    @Test
    void inputs_that_do_not_fill_whole_words_are_refused() {
        assertRefused(() -> packWeights(new byte[33], 4, 33, 1), "multiples of 32, found 33");
    }

    @Test
    void a_segment_of_the_wrong_size_is_refused_before_it_is_touched() {
        assertRefused(() -> Packing.unpackWeights(MemorySegment.ofArray(new int[3]), 4, 32, 1,
                MemorySegment.ofArray(new byte[32])), "qweight: expected 16 bytes, found 12");
    }

    private static byte[] randomCodes(Random random, int count, int bits) {
        byte[] codes = new byte[count];
        for (int i = 0; i < count; i++) {
            codes[i] = (byte) random.nextInt(1 << bits);
        }
        return codes;
    }

    private static int[] packWeights(byte[] codes, int bits, int inputs, int outputs) {
        int[] words = new int[inputs / 32 * bits * outputs];
        Packing.packWeights(MemorySegment.ofArray(codes), bits, inputs, outputs, MemorySegment.ofArray(words));
        return words;
    }

    private static int[] packZeros(int[] zeros, int bits, int groups, int outputs, int zeroOffset) {
        int[] words = new int[groups * outputs / 32 * bits];
        Packing.packZeros(MemorySegment.ofArray(zeros), bits, groups, outputs, zeroOffset,
                MemorySegment.ofArray(words));
        return words;
    }

    /** The words of a dense little-endian stream: the sum of code i times 2^(bits i), cut into 32-bit digits. */
    private static int[] stream(int[] codes, int bits) {
        BigInteger sum = BigInteger.ZERO;
        for (int i = codes.length - 1; i >= 0; i--) {
            sum = sum.shiftLeft(bits).add(BigInteger.valueOf(codes[i]));
        }
        int[] words = new int[codes.length * bits / 32];
        for (int w = 0; w < words.length; w++) {
            words[w] = sum.shiftRight(32 * w).intValue();
        }
        return words;
    }
}
