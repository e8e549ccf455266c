package dev.optgptq.gptq.run.checkpoint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Counts of the float16 scales of linears.
 *
 * @param all how many there are
 * @param negative that are less than 0
 * @param subnormal whose magnitude is below 2^-14, 0 included: they have fewer digits
 * @param least whose magnitude is float16's least, 2^-24, or 0: their weights needed a smaller one, and are 0 or coarse
 */
public record ScaleCount(long all, long negative, long least, long subnormal) {

    public static final ScaleCount NONE = new ScaleCount(0, 0, 0, 0);

    /** The bits of 2^-14. */
    private static final int LEAST_NORMAL = 0x0400;

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);

    /** @param scales float16 */
    public static ScaleCount of(MemorySegment scales) {
        long all = scales.byteSize() / Short.BYTES;
        long negative = 0;
        long least = 0;
        long subnormal = 0;
        for (long i = 0; i < all; i++) {
            short bits = scales.get(SHORT, i * Short.BYTES);
            negative += bits < 0 ? 1 : 0;
            least += (bits & Short.MAX_VALUE) <= 1 ? 1 : 0;
            subnormal += (bits & Short.MAX_VALUE) < LEAST_NORMAL ? 1 : 0;
        }
        return new ScaleCount(all, negative, least, subnormal);
    }

    public ScaleCount plus(ScaleCount other) {
        return new ScaleCount(all + other.all, negative + other.negative, least + other.least,
                subnormal + other.subnormal);
    }

    /** The share that is negative; 0 where there are none. */
    public double negativeShare() {
        return all == 0 ? 0 : (double) negative / all;
    }
}
