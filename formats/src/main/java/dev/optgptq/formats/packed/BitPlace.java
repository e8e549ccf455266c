package dev.optgptq.formats.packed;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.MemorySegment;

/**
 * Where the integers of a packed matrix stand: the scalar definition of a format. Bits are counted from the lowest of the tensor's
 * first byte; formats are little-endian, so bit n of a tensor of words is bit n % 32 of word n / 32.
 */
@FunctionalInterface
public interface BitPlace {

    /** Where bit k of the integer at [row, column] stands. */
    long of(int row, int column, int k);

    /** The unsigned integer of that many bits at [row, column]. */
    default int get(MemorySegment stored, int row, int column, int bits) {
        int value = 0;
        for (int k = 0; k < bits; k++) {
            long bit = of(row, column, k);
            value |= ((stored.get(JAVA_BYTE, bit >> 3) >> (bit & 7)) & 1) << k;
        }
        return value;
    }

    /** Puts an unsigned integer of that many bits at [row, column] of what was all zero. */
    default void put(MemorySegment stored, int row, int column, int bits, int value) {
        for (int k = 0; k < bits; k++) {
            long bit = of(row, column, k);
            byte old = stored.get(JAVA_BYTE, bit >> 3);
            stored.set(JAVA_BYTE, bit >> 3, (byte) (old | (((value >> k) & 1) << (bit & 7))));
        }
    }
}
