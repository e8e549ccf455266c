package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.quant.CpuPackedLinear.BLOCK;

import dev.optgptq.kernels.cpu.loops.Memory;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Centred codes out of packed words, a vector of outputs at a time: with the highest bit of each code flipped, a shift to the
 * left and an arithmetic one to the right leave code - 2^(bits-1), a step less than masking and subtracting, and without a
 * large common part that would cancel.
 */
final class PackedCodes {

    /** The highest bit of every code, for each word of a block of 32. */
    private final int[] flips;

    PackedCodes(int bits) {
        this.flips = new int[bits];
        for (int code = 0; code < BLOCK; code++) {
            int bit = code * bits + bits - 1;
            flips[bit / Integer.SIZE] |= 1 << bit % Integer.SIZE;
        }
    }

    static int centre(int bits) {
        return 1 << (bits - 1);
    }

    /** Words of a block with their codes' highest bits flipped. */
    IntVector words(MemorySegment words, long at, int word) {
        return Memory.loadInts(words, at).lanewise(VectorOperators.XOR, flips[word]);
    }

    /** The codes whose lowest bit is the given one of these words, and that end in them. */
    static FloatVector within(IntVector words, int bit, int bits) {
        return (FloatVector) words.lanewise(VectorOperators.LSHL, Integer.SIZE - bits - bit)
                .lanewise(VectorOperators.ASHR, Integer.SIZE - bits).convert(VectorOperators.I2F, 0);
    }

    /** The codes that begin at that bit of these words and end in the next: some of 3 bits do. */
    static FloatVector across(IntVector words, IntVector next, int bit, int bits) {
        return within(words.lanewise(VectorOperators.LSHR, bit)
                .or(next.lanewise(VectorOperators.LSHL, Integer.SIZE - bit)), 0, bits);
    }
}
