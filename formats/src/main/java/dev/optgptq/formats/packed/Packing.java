package dev.optgptq.formats.packed;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The scalar definition of GPTQ packing, for any bit width of 2, 3, 4, 8: a dense little-endian bit stream of codes.
 * Code i takes bits [bits * i, bits * (i + 1)) of the stream, and word w of the stream holds its bits [32 w, 32 w + 32);
 * at 3 bits some codes straddle two words (AutoGPTQ and GPTQModel, pack of the torch linear).
 */
public final class Packing {

    private static final ValueLayout.OfInt WORD = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int WORD_BITS = 32;

    private Packing() {}

    /**
     * Packs codes along the inputs.
     *
     * @param codes uint8 [inputs, outputs], each below 2^bits
     * @param qweight int32 [inputs * bits / 32, outputs], written
     */
    public static void packWeights(MemorySegment codes, int bits, int inputs, int outputs, MemorySegment qweight) {
        long words = words(bits, inputs);
        requireBytes("codes", codes, (long) inputs * outputs);
        requireBytes("qweight", qweight, words * outputs * Integer.BYTES);
        for (int word = 0; word < words; word++) {
            for (int output = 0; output < outputs; output++) {
                int packed = 0;
                for (int input = firstCode(bits, word); input <= lastCode(bits, word); input++) {
                    int code = codes.get(JAVA_BYTE, (long) input * outputs + output) & 0xff;
                    requireCode(code, bits, input, output);
                    packed |= bitsInWord(code, bits, input, word);
                }
                qweight.set(WORD, ((long) word * outputs + output) * Integer.BYTES, packed);
            }
        }
    }

    /** The inverse of packWeights. */
    public static void unpackWeights(MemorySegment qweight, int bits, int inputs, int outputs, MemorySegment codes) {
        long words = words(bits, inputs);
        requireBytes("qweight", qweight, words * outputs * Integer.BYTES);
        requireBytes("codes", codes, (long) inputs * outputs);
        for (int input = 0; input < inputs; input++) {
            long source = (long) firstWord(bits, input) * outputs * Integer.BYTES;
            long target = (long) input * outputs;
            if (straddles(bits, input)) {
                unpackStraddling(qweight, source, bits, input, outputs, codes, target);
            } else {
                unpackRow(qweight, source, (int) ((long) input * bits % WORD_BITS), maxCode(bits), outputs, codes,
                        target);
            }
        }
    }

    private static void unpackStraddling(MemorySegment qweight, long source, int bits, int input, int outputs,
            MemorySegment codes, long target) {
        long next = source + (long) outputs * Integer.BYTES;
        for (int output = 0; output < outputs; output++) {
            int code = codeFrom(qweight.get(WORD, source + 4L * output), qweight.get(WORD, next + 4L * output), bits,
                    input);
            codes.set(JAVA_BYTE, target + output, (byte) code);
        }
    }

    /**
     * The fast path for 2, 4 and 8 bits: much of the time of reading a checkpoint back. A separate method, so that it
     * is compiled by itself, and not as part of a loop that is entered once.
     */
    private static void unpackRow(MemorySegment qweight, long source, int shift, int mask, int outputs,
            MemorySegment codes, long target) {
        for (int output = 0; output < outputs; output++) {
            int code = (qweight.get(WORD, source + 4L * output) >>> shift) & mask;
            codes.set(JAVA_BYTE, target + output, (byte) code);
        }
    }

    /**
     * Packs zero points along the outputs, each stored as (zero - zeroOffset) mod 2^bits.
     *
     * @param zeros int32 [groups, outputs], each in [0, 2^bits)
     * @param qzeros int32 [groups, outputs * bits / 32], written
     */
    public static void packZeros(MemorySegment zeros, int bits, int groups, int outputs, int zeroOffset,
            MemorySegment qzeros) {
        long words = words(bits, outputs);
        requireBytes("zeros", zeros, (long) groups * outputs * Integer.BYTES);
        requireBytes("qzeros", qzeros, groups * words * Integer.BYTES);
        for (int group = 0; group < groups; group++) {
            for (int word = 0; word < words; word++) {
                int packed = 0;
                for (int output = firstCode(bits, word); output <= lastCode(bits, word); output++) {
                    int zero = zeros.get(WORD, ((long) group * outputs + output) * Integer.BYTES);
                    requireCode(zero, bits, group, output);
                    packed |= bitsInWord((zero - zeroOffset) & maxCode(bits), bits, output, word);
                }
                qzeros.set(WORD, (group * words + word) * Integer.BYTES, packed);
            }
        }
    }

    /** The inverse of packZeros. */
    public static void unpackZeros(MemorySegment qzeros, int bits, int groups, int outputs, int zeroOffset,
            MemorySegment zeros) {
        long words = words(bits, outputs);
        requireBytes("qzeros", qzeros, groups * words * Integer.BYTES);
        requireBytes("zeros", zeros, (long) groups * outputs * Integer.BYTES);
        for (int group = 0; group < groups; group++) {
            for (int output = 0; output < outputs; output++) {
                long at = (group * words + firstWord(bits, output)) * Integer.BYTES;
                int low = qzeros.get(WORD, at);
                int high = straddles(bits, output) ? qzeros.get(WORD, at + Integer.BYTES) : 0;
                int zero = (codeFrom(low, high, bits, output) + zeroOffset) & maxCode(bits);
                zeros.set(WORD, ((long) group * outputs + output) * Integer.BYTES, zero);
            }
        }
    }

    /** The words that qzeros repeats when every zero point is 2^(bits-1); the length is the period. */
    static int[] symmetricZeroWords(int bits, int zeroOffset) {
        int[] words = new int[words(bits, WORD_BITS)];
        int stored = (1 << (bits - 1)) - zeroOffset;
        for (int word = 0; word < words.length; word++) {
            for (int index = firstCode(bits, word); index <= lastCode(bits, word); index++) {
                words[word] |= bitsInWord(stored, bits, index, word);
            }
        }
        return words;
    }

    /** Words of a stream of that many codes; throws IllegalArgumentException unless they fill whole words evenly. */
    static int words(int bits, int codes) {
        if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
            throw new IllegalArgumentException("bits must be 2, 3, 4 or 8, found " + bits);
        }
        if (codes < 0 || codes % WORD_BITS != 0) {
            throw new IllegalArgumentException("packed dimensions are multiples of 32, found " + codes);
        }
        return codes / WORD_BITS * bits;
    }

    /** The first code with bits in a word. */
    private static int firstCode(int bits, int word) {
        return (int) ((long) word * WORD_BITS / bits);
    }

    /** The last code with bits in a word. */
    private static int lastCode(int bits, int word) {
        return (int) (((word + 1L) * WORD_BITS - 1) / bits);
    }

    /** The word that holds the lowest bit of a code. */
    private static int firstWord(int bits, int index) {
        return (int) ((long) index * bits / WORD_BITS);
    }

    private static boolean straddles(int bits, int index) {
        return (long) index * bits % WORD_BITS + bits > WORD_BITS;
    }

    /** The part of a code that falls into a word, in its place. */
    private static int bitsInWord(int code, int bits, int index, int word) {
        int shift = (int) ((long) index * bits - (long) word * WORD_BITS);
        return shift >= 0 ? code << shift : code >>> -shift;
    }

    /** The code whose lowest bit is in {@code low}; {@code high} is the next word, 0 when no bit of it is needed. */
    private static int codeFrom(int low, int high, int bits, int index) {
        long both = Integer.toUnsignedLong(low) | ((long) high << WORD_BITS);
        return (int) (both >>> ((long) index * bits % WORD_BITS)) & maxCode(bits);
    }

    private static int maxCode(int bits) {
        return (1 << bits) - 1;
    }

    private static void requireCode(int code, int bits, int row, int column) {
        if (code < 0 || code > maxCode(bits)) {
            throw new IllegalArgumentException("[" + row + ", " + column + "]: expected a code of " + bits
                    + " bits, found " + code);
        }
    }

    private static void requireBytes(String name, MemorySegment segment, long bytes) {
        if (segment.byteSize() != bytes) {
            throw new IllegalArgumentException(name + ": expected " + bytes + " bytes, found " + segment.byteSize());
        }
    }
}
