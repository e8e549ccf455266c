package dev.optgptq.gptq.run.checkpoint;

/**
 * The CRC-32C of a message from those of its two halves: a CRC is a remainder of polynomials over GF(2), so that of the first half
 * is multiplied by x^8 for every byte of the second. Bit 31 stands for x^0, as in the CRC.
 */
final class JoinedChecksum {

    private static final int POLYNOMIAL = 0x82F63B78;
    private static final int ONE = 1 << 31;

    private JoinedChecksum() {}

    /** @param bytes of the second half */
    static long of(long first, long second, long bytes) {
        int factor = ONE;
        int square = ONE >>> Byte.SIZE;
        for (long left = bytes; left != 0; left >>>= 1) {
            factor = (left & 1) == 0 ? factor : product(factor, square);
            square = product(square, square);
        }
        return Integer.toUnsignedLong(product((int) first, factor) ^ (int) second);
    }

    private static int product(int a, int b) {
        int sum = 0;
        int shifted = b;
        for (int bit = ONE; bit != 0; bit >>>= 1) {
            sum ^= (a & bit) == 0 ? 0 : shifted;
            shifted = shifted >>> 1 ^ ((shifted & 1) == 0 ? 0 : POLYNOMIAL);
        }
        return sum;
    }
}
