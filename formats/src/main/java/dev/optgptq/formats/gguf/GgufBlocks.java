package dev.optgptq.formats.gguf;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.optgptq.formats.dtype.Floats;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The scalar definition of how GPTQ codes become blocks: 32 codes of one row, with one scale and one zero point, bit
 * for bit where the block can represent it. Blocks are defined by ggml-quants.c, dequantize_row_q4_0 and the like.
 */
final class GgufBlocks {

    static final int ELEMENTS = 32;

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int HALF_BLOCK = ELEMENTS / 2;
    /** What Q4_0 takes from a code. */
    private static final int Q4_0_ZERO = 8;

    private GgufBlocks() {}

    /** The codes of one block. */
    interface Codes {
        /** Code of element j, 0 to 31. */
        int at(int j);
    }

    /**
     * scale (code - zero) = scale (q - 8) with q = code - zero + 8, exact for every symmetric grid of at most 4 bits, whose
     * zero is 2^(bits-1).
     *
     * @param scale float16 bits
     */
    static void putQ40(Codes codes, short scale, int zero, MemorySegment target, long at) {
        target.set(SHORT, at, scale);
        putNibbles(codes, Q4_0_ZERO - zero, target, at + 2);
    }

    /**
     * scale (code - zero) = scale code + m with m = -scale zero rounded to float16: off by at most 2^-11 of scale x zero, less
     * than 0.0074 of a step at 4 bits.
     */
    static void putQ41(Codes codes, short scale, int zero, MemorySegment target, long at) {
        target.set(SHORT, at, scale);
        target.set(SHORT, at + 2, Floats.toF16(-Floats.fromF16(scale) * zero));
        putNibbles(codes, 0, target, at + 4);
    }

    /** scale (code - zero) = scale q with q = code - zero, exact where that is a signed byte. */
    static void putQ80(Codes codes, short scale, int zero, MemorySegment target, long at) {
        target.set(SHORT, at, scale);
        for (int j = 0; j < ELEMENTS; j++) {
            target.set(JAVA_BYTE, at + 2 + j, (byte) (codes.at(j) - zero));
        }
    }

    private static void putNibbles(Codes codes, int added, MemorySegment target, long at) {
        for (int j = 0; j < HALF_BLOCK; j++) {
            int low = codes.at(j) + added;
            int high = codes.at(j + HALF_BLOCK) + added;
            target.set(JAVA_BYTE, at + j, (byte) (low | high << 4));
        }
    }
}
