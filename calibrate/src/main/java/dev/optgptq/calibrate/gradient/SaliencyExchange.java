package dev.optgptq.calibrate.gradient;

import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Token weights between ranks, each of which captures those of its own sequences.
 *
 * @param values F32 [blocks * sites, tokens]
 */
record SaliencyExchange(Ranks ranks, MemorySegment values, long tokens) {

    /** Brings the tokens [from, to) of every rank to the first one. */
    void gather(long from, long to) {
        List<long[]> ranges = ranks.exchange(from, to);
        for (int rank = 1; rank < ranks.size(); rank++) {
            if (ranks.isFirst() || rank == ranks.rank()) {
                long first = ranges.get(rank)[0];
                columns(rank, first, ranges.get(rank)[1] - first);
            }
        }
    }

    private void columns(int rank, long first, long count) {
        long rows = values.byteSize() / Float.BYTES / tokens;
        try (Arena host = Arena.ofShared()) {
            MemorySegment dense = host.allocate(ValueLayout.JAVA_FLOAT, rows * count);
            if (ranks.isFirst()) {
                ranks.receive(rank, dense);
            }
            for (long row = 0; row < rows; row++) {
                MemorySegment mine = values.asSlice((row * tokens + first) * Float.BYTES, count * Float.BYTES);
                MemorySegment theirs = dense.asSlice(row * count * Float.BYTES, count * Float.BYTES);
                if (ranks.isFirst()) {
                    mine.copyFrom(theirs);
                } else {
                    theirs.copyFrom(mine);
                }
            }
            if (!ranks.isFirst()) {
                ranks.send(0, dense);
            }
        }
    }

    /** Everything that the first rank has, on every rank. */
    void share() {
        ranks.broadcast(0, values);
    }
}
