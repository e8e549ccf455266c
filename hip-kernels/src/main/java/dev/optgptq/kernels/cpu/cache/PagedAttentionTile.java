package dev.optgptq.kernels.cpu.cache;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.cache.CpuPagedAttention.Tile;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheShape;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/**
 * A few rows of a sequence and the query heads of one KV head: pages from the first to the last with a running maximum and sum
 * for each query (Milakov and Gimelshein, arXiv 1805.02867). Each query goes through its pages alone, so that its bits do not
 * depend on what is computed with it.
 */
final class PagedAttentionTile {

    private static final int TOKENS = CachePages.TOKENS;

    private final Tensor q;
    private final Tensor table;
    private final @Nullable Tensor slopes;
    private final @Nullable Tensor sinks;
    private final CacheShape shape;
    private final Tile tile;
    private final int kvHead;
    private final PageReader keys;
    private final PageReader values;
    private final int pitch;
    private final float[] page;
    /** [rows * group, pitch]: the queries, and what they have summed. */
    private final float[] queries;
    private final float[] sums;
    private final float[] most;
    private final float[] total;
    /** [rows * group, TOKENS]: scores of a page, then their weights. */
    private final float[] weights;

    PagedAttentionTile(Tensor q, CachePages pages, Tensor table, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tile tile, int kvHead) {
        this.q = q;
        this.table = table;
        this.slopes = slopes;
        this.sinks = sinks;
        this.shape = shape;
        this.tile = tile;
        this.kvHead = kvHead;
        this.pitch = Math.ceilDiv(shape.headDim(), LANES) * LANES;
        this.keys = new PageReader(pages, pages.keys(), pages.keyGrids(), pitch);
        this.values = new PageReader(pages, pages.values(), pages.valueGrids(), pitch);
        int count = tile.rows() * shape.group();
        this.page = new float[TOKENS * pitch];
        this.queries = new float[count * pitch];
        this.sums = new float[count * pitch];
        this.most = new float[count];
        this.total = new float[count];
        this.weights = new float[count * TOKENS];
    }

    void run(Tensor out) {
        eachQuery((query, row, head) -> {
            MemorySegment.copy(q.memory(), Memory.FLOAT, at(q, row, head), queries, query * pitch, shape.headDim());
            // A sink is a score that is there before any key.
            most[query] = sinks == null
                    ? Float.NEGATIVE_INFINITY
                    : sinks.memory().get(Memory.FLOAT, (long) head * Float.BYTES);
            total[query] = sinks == null ? 0 : 1;
        });
        int last = tile.position() + tile.rows() - 1;
        int firstPage = firstSeen(tile.position()) / TOKENS;
        for (int at = firstPage; at <= last / TOKENS; at++) {
            page(at, Math.min(TOKENS, last + 1 - at * TOKENS));
        }
        eachQuery((query, row, head) -> {
            for (int d = 0; d < shape.headDim(); d++) {
                sums[query * pitch + d] /= total[query];
            }
            MemorySegment.copy(sums, query * pitch, out.memory(), Memory.FLOAT, at(out, row, head), shape.headDim());
        });
    }

    /** @param tokens of the page that any row of the tile may see */
    private void page(int index, int tokens) {
        int page = table.memory().get(Memory.INT, Memory.row(table, tile.sequence()) + (long) index * Integer.BYTES);
        keys.read(page, kvHead, 0, tokens, this.page);
        eachQuery((query, row, head) -> score(query, row, head, index * TOKENS));
        values.read(page, kvHead, 0, tokens, this.page);
        eachQuery((query, row, head) -> {
            int position = tile.position() + row;
            accumulate(query, Math.max(0, firstSeen(position) - index * TOKENS),
                    Math.min(TOKENS, position + 1 - index * TOKENS));
        });
    }

    /** Weights of a page's tokens, 0 for those that the query does not see. */
    private void score(int query, int row, int head, int first) {
        int position = tile.position() + row;
        int from = Math.max(0, firstSeen(position) - first);
        int to = Math.min(TOKENS, position + 1 - first);
        int start = query * TOKENS;
        if (from >= to) {
            return;
        }
        float slope = slopes == null ? 0 : slopes.memory().get(Memory.FLOAT, (long) head * Float.BYTES);
        Arrays.fill(weights, start, start + TOKENS, Float.NEGATIVE_INFINITY);
        float top = most[query];
        for (int token = from; token < to; token++) {
            float product = VectorMath.dot(queries, query * pitch, page, token * pitch, pitch);
            float score = shape.softcap() == 0
                    ? Math.fma(product, shape.scale(), slope * (first + token - position))
                    : capped(product * shape.scale()) + slope * (first + token - position);
            weights[start + token] = score;
            top = Math.max(top, score);
        }
        if (top > most[query]) {
            rescale(query, most[query] == Float.NEGATIVE_INFINITY ? 0 : exp(most[query] - top));
            most[query] = top;
        }
        float sum = 0;
        for (int token = 0; token < TOKENS; token += LANES) {
            FloatVector weight = VectorMath.exp(FloatVector.fromArray(SPECIES, weights, start + token).sub(top));
            weight.intoArray(weights, start + token);
            sum += VectorMath.sum(weight);
        }
        total[query] += sum;
    }

    private float capped(float score) {
        return (float) (shape.softcap() * Math.tanh(score / shape.softcap()));
    }

    private void rescale(int query, float factor) {
        total[query] *= factor;
        for (int d = 0; d < pitch; d += LANES) {
            FloatVector.fromArray(SPECIES, sums, query * pitch + d).mul(factor).intoArray(sums, query * pitch + d);
        }
    }

    private static float exp(float x) {
        return VectorMath.exp(FloatVector.broadcast(SPECIES, x)).lane(0);
    }

    private void accumulate(int query, int from, int to) {
        for (int token = from; token < to; token++) {
            FloatVector weight = FloatVector.broadcast(SPECIES, weights[query * TOKENS + token]);
            for (int d = 0; d < pitch; d += LANES) {
                FloatVector.fromArray(SPECIES, page, token * pitch + d)
                        .fma(weight, FloatVector.fromArray(SPECIES, sums, query * pitch + d))
                        .intoArray(sums, query * pitch + d);
            }
        }
    }

    private int firstSeen(int position) {
        return shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
    }

    private long at(Tensor tensor, int row, int head) {
        return Memory.row(tensor, tile.row() + row) + (long) head * shape.headDim() * Float.BYTES;
    }

    /** @see #eachQuery */
    @FunctionalInterface
    private interface QueryBody {
        /** @param row of the tile; head of the model */
        void accept(int query, int row, int head);
    }

    private void eachQuery(QueryBody body) {
        int group = shape.group();
        for (int row = 0; row < tile.rows(); row++) {
            for (int i = 0; i < group; i++) {
                body.accept(row * group + i, row, kvHead * group + i);
            }
        }
    }
}
