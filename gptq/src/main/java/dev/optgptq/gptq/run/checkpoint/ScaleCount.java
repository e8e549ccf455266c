package dev.optgptq.gptq.run.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * What the float16 scales of linears are like.
 *
 * @param all how many there are
 * @param negative that are less than 0
 * @param least whose magnitude is float16's least, 2^-24, or 0: their weights needed a smaller one, and are 0 or coarse
 */
public record ScaleCount(long all, long negative, long least) {

    public static final ScaleCount NONE = new ScaleCount(0, 0, 0);

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    /** @param scales float16 */
    static ScaleCount of(MemorySegment scales) {
        long all = scales.byteSize() / Short.BYTES;
        long negative = 0;
        long least = 0;
        for (long i = 0; i < all; i++) {
            short bits = scales.get(SHORT, i * Short.BYTES);
            negative += bits < 0 ? 1 : 0;
            least += (bits & Short.MAX_VALUE) <= 1 ? 1 : 0;
        }
        return new ScaleCount(all, negative, least);
    }

    ScaleCount plus(ScaleCount other) {
        return new ScaleCount(all + other.all, negative + other.negative, least + other.least);
    }

    /** The share that is negative; 0 where there are none. */
    public double negativeShare() {
        return all == 0 ? 0 : (double) negative / all;
    }
}
