package dev.optgptq.calibrate.capture;

import java.util.ArrayList;
import java.util.List;

/**
 * Consecutive calibration tokens, whole batches. Sums over tokens are formed part by part in an order that does not
 * depend on which device has which part.
 *
 * @param index among all parts, in order
 * @param first its first token among all
 * @param rows tokens
 */
public record Shard(int index, long first, long rows) {

    /** All tokens as one part. */
    public static Shard whole(long rows) {
        return new Shard(0, 0, rows);
    }

    /**
     * Divides tokens into {@code count} parts of nearly equal numbers of batches, or into single batches if there are
     * fewer.
     *
     * @param rows tokens
     * @param batchRows tokens of a batch; the last one may have fewer
     */
    public static List<Shard> cut(long rows, long batchRows, int count) {
        long batches = Math.ceilDiv(rows, batchRows);
        int parts = (int) Math.min(count, batches);
        List<Shard> cut = new ArrayList<>();
        for (int i = 0; i < parts; i++) {
            long from = batches * i / parts * batchRows;
            long to = Math.min(rows, batches * (i + 1) / parts * batchRows);
            cut.add(new Shard(i, from, to - from));
        }
        return cut;
    }

    /** The token after it. */
    public long end() {
        return first + rows;
    }
}
