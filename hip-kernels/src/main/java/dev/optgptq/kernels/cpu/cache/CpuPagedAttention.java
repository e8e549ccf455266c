package dev.optgptq.kernels.cpu.cache;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Attention over pages, parallel over sequences, tiles of their rows and KV heads. */
final class CpuPagedAttention {

    /** Rows that share a page once it is decoded. No result depends on it. */
    private static final int TILE = 8;

    private final Parallel parallel;

    CpuPagedAttention(Parallel parallel) {
        this.parallel = parallel;
    }

    /**
     * Neighbouring rows of one sequence.
     *
     * @param row the first of them
     * @param position of that row
     */
    record Tile(int sequence, int row, int rows, int position) {}

    void run(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        List<Tile> tiles = tiles(rows);
        parallel.forEach((long) tiles.size() * shape.kvHeads(), task -> {
            Tile tile = tiles.get((int) (task / shape.kvHeads()));
            new PagedAttentionTile(q, pages, rows.table(), slopes, sinks, shape, tile, (int) (task % shape.kvHeads()))
                    .run(out);
        });
    }

    /** Those with most keys first. */
    private static List<Tile> tiles(CacheRows rows) {
        List<Tile> tiles = new ArrayList<>();
        for (int sequence = 0; sequence < rows.sequences(); sequence++) {
            int end = element(rows.starts(), sequence + 1);
            int length = element(rows.lengths(), sequence);
            for (int row = element(rows.starts(), sequence); row < end; row += TILE) {
                tiles.add(new Tile(sequence, row, Math.min(TILE, end - row), length - (end - row)));
            }
        }
        tiles.sort((a, b) -> Integer.compare(b.position(), a.position()));
        return tiles;
    }

    private static int element(Tensor vector, long index) {
        return vector.memory().get(Memory.INT, index * Integer.BYTES);
    }
}
