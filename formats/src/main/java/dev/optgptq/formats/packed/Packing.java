package dev.optgptq.formats.packed;

import java.lang.foreign.MemorySegment;

/**
 * The scalar definition of GPTQ packing, for any bit width of 2, 3, 4, 8: a dense little-endian bit stream of codes
 * (notes/formats.md 1.2).
 */
public final class Packing {

    private Packing() {}

    /**
     * Packs codes along the inputs.
     *
     * @param codes uint8 [inputs, outputs], each below 2^bits
     * @param qweight int32 [inputs * bits / 32, outputs], written
     */
    public static void packWeights(MemorySegment codes, int bits, int inputs, int outputs, MemorySegment qweight) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The inverse of packWeights. */
    public static void unpackWeights(MemorySegment qweight, int bits, int inputs, int outputs, MemorySegment codes) {
        throw new UnsupportedOperationException("not written yet");
    }

    /**
     * Packs zero points along the outputs, each stored as (zero - zeroOffset) mod 2^bits.
     *
     * @param zeros int32 [groups, outputs], each in [0, 2^bits)
     * @param qzeros int32 [groups, outputs * bits / 32], written
     */
    public static void packZeros(MemorySegment zeros, int bits, int groups, int outputs, int zeroOffset,
            MemorySegment qzeros) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** The inverse of packZeros. */
    public static void unpackZeros(MemorySegment qzeros, int bits, int groups, int outputs, int zeroOffset,
            MemorySegment zeros) {
        throw new UnsupportedOperationException("not written yet");
    }
}
