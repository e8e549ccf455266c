package dev.optgptq.calibrate.capture;

import java.util.ArrayList;
import java.util.List;

/**
 * Neighbouring tokens of the calibration, whole batches. What is summed over tokens is summed part by part in an order that
 * does not depend on who does which part.
 *
 * @param index among all parts, in order
 * @param first its first token among all
 * @param rows tokens
 */
public record Shard(int index, long first, long rows) {

    /** All tokens as one. */
    public static Shard whole(long rows) {
        return new Shard(0, 0, rows);
    }

    /**
     * Cuts tokens into {@code count} parts of nearly as many batches each, or into single batches where there are fewer.
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

    /** The token behind it. */
    public long end() {
        return first + rows;
    }
}
