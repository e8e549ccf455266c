package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.attention.AttentionKernels.PANEL;
import static dev.optgptq.kernels.cpu.attention.AttentionKernels.QUERIES;
import static dev.optgptq.kernels.cpu.attention.AttentionKernels.ROWS;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.Arrays;

/**
 * The gradient through attention for one head of one sequence, with the memory it works in, which grows with the sequence
 * but holds no score matrix: FlashAttention-2 (arXiv 2307.08691, algorithm 2) with queries along the vector lanes. Keys pass
 * by twice in blocks of KEYS: once for the softmax's maximum and sum of each query, once for the gradients.
 */
final class AttentionGradientBlock {

    /** Keys per step. Scores of a tile and their gradients (16 KiB at 16 lanes) stay in the first-level cache. */
    private static final int KEYS = 64;
    private static final float LOG2_E = 1.442695f;

    private final int headDim;
    private final int length;
    private final int tiles;
    /** headDim rounded up to whole panels of keys; the columns between hold zeros. */
    private final int keyDim;
    /** headDim rounded up to QUERIES columns, likewise. */
    private final int wideDim;
    /** Per tile [headDim, QUERIES]: the queries, scaled for scores in log2, and dOut. */
    private final float[] q;
    private final float[] d;
    /** Per tile, panels of [QUERIES, QUERIES columns]: the queries, scaled, and dOut, untransposed. */
    private final float[] queryRows;
    private final float[] outRows;
    /** Per tile [keyDim, QUERIES]. */
    private final float[] dq;
    /** One per query: of its scores in log2, and dOut . out. */
    private final float[] max;
    private final float[] sum;
    private final float[] delta;
    private final float[] position;
    /** [KEYS, headDim], and panels of [KEYS, PANEL]. */
    private final float[] k;
    private final float[] v;
    private final float[] keyPanels;
    /** [KEYS, QUERIES], and a row that the online softmax uses. */
    private final float[] p = new float[(KEYS + 1) * QUERIES];
    private final float[] ds = new float[(KEYS + 1) * QUERIES];
    /** Panels of [KEYS, QUERIES columns]. */
    private final float[] dk;
    private final float[] dv;
    private final float[] product = new float[ROWS * QUERIES];
    private final float[] row;
    /** [QUERIES, headDim] of a tile, as is outputs, and where a vector's lanes lie in it. */
    private final float[] rows;
    private final float[] outputs;
    private final int[] strides;

    AttentionGradientBlock(int headDim, int length) {
        this.headDim = headDim;
        this.length = length;
        this.tiles = Math.ceilDiv(length, QUERIES);
        this.keyDim = Math.ceilDiv(headDim, PANEL) * PANEL;
        this.wideDim = Math.ceilDiv(headDim, QUERIES) * QUERIES;
        int queries = tiles * QUERIES;
        this.q = new float[queries * headDim];
        this.d = new float[queries * headDim];
        this.queryRows = new float[queries * wideDim];
        this.outRows = new float[queries * wideDim];
        this.dq = new float[queries * keyDim];
        this.max = new float[queries];
        this.sum = new float[queries];
        this.delta = new float[queries];
        this.position = new float[queries];
        this.k = new float[KEYS * headDim];
        this.v = new float[KEYS * headDim];
        this.keyPanels = new float[KEYS * keyDim];
        this.dk = new float[KEYS * wideDim];
        this.dv = new float[KEYS * wideDim];
        this.row = new float[wideDim];
        this.rows = new float[QUERIES * headDim];
        this.outputs = new float[QUERIES * headDim];
        this.strides = HeadRows.strides(headDim);
    }

    boolean fits(AttentionShape shape) {
        return shape.headDim() == headDim && shape.sequenceLength() == length;
    }

    /** One head's columns of one sequence, each [length, headDim]. */
    record Head(Tensor q, Tensor k, Tensor v, Tensor out, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {}

    void run(Head head, float slope, AttentionShape shape) {
        begin(head, shape.scale());
        float log2Slope = slope * LOG2_E;
        for (int firstKey = 0; firstKey < length; firstKey += KEYS) {
            int count = Math.min(KEYS, length - firstKey);
            HeadRows.pack(head.k(), firstKey, count, k, 0, headDim);
            for (int tile = firstTile(firstKey); tile < tilesEnd(firstKey, count, shape.window()); tile++) {
                int seen = scores(tile, firstKey, count, log2Slope, shape.window());
                AttentionKernels.softmax(p, seen, max, sum, tile * QUERIES);
            }
        }
        endStatistics();
        for (int firstKey = 0; firstKey < length; firstKey += KEYS) {
            int count = Math.min(KEYS, length - firstKey);
            HeadRows.pack(head.k(), firstKey, count, k, 0, headDim);
            HeadRows.pack(head.v(), firstKey, count, v, 0, headDim);
            for (int c = 0; c < headDim; c += PANEL) {
                HeadRows.pack(head.k().columns(c, Math.min(PANEL, headDim - c)), firstKey, count, keyPanels, c * KEYS,
                        PANEL);
            }
            Arrays.fill(dk, 0);
            Arrays.fill(dv, 0);
            for (int tile = firstTile(firstKey); tile < tilesEnd(firstKey, count, shape.window()); tile++) {
                step(tile, scores(tile, firstKey, count, log2Slope, shape.window()));
            }
            unpackPanels(dk, head.dk(), firstKey, count);
            unpackPanels(dv, head.dv(), firstKey, count);
        }
        finish(head.dq(), shape.scale());
    }

    /** The first tile with a query that sees the key. */
    private static int firstTile(int firstKey) {
        return firstKey / QUERIES;
    }

    /** The tile behind the last one with a query that sees one of the keys. */
    private int tilesEnd(int firstKey, int count, int window) {
        return window == 0 ? tiles : Math.min(tiles, Math.ceilDiv(firstKey + count - 1 + window, QUERIES));
    }

    private void begin(Head head, float scale) {
        Arrays.fill(dq, 0);
        Arrays.fill(max, Float.NEGATIVE_INFINITY);
        Arrays.fill(sum, 0);
        for (int tile = 0; tile < tiles; tile++) {
            int first = tile * QUERIES;
            int real = Math.min(QUERIES, length - first);
            for (int i = first; i < first + QUERIES; i++) {
                position[i] = i;
            }
            place(head.q(), first, real, scale * LOG2_E, q, scale, queryRows);
            HeadRows.pack(head.out(), first, real, outputs, 0, headDim);
            place(head.dOut(), first, real, 1, d, 1, outRows);
            for (int i = 0; i < real; i++) {
                delta[first + i] = VectorMath.dot(rows, i * headDim, outputs, i * headDim, headDim);
            }
        }
    }

    /** Puts a tile's rows, which stay in {@code rows}, into lanes, and into panels as they are; each with its factor. */
    private void place(Tensor from, int first, int real, float factor, float[] lanes, float rowFactor,
            float[] panels) {
        HeadRows.pack(from, first, real, rows, 0, headDim);
        Arrays.fill(rows, real * headDim, QUERIES * headDim, 0);
        HeadRows.toLanes(rows, strides, headDim, factor, lanes, first * headDim);
        for (int c = 0; c < headDim; c += QUERIES) {
            HeadRows.scale(rows, c, headDim, Math.min(QUERIES, headDim - c), rowFactor, panels,
                    first * wideDim + c * QUERIES);
        }
    }

    /** p = the scores of the keys that the tile may see, in log2, with bias and mask; returns how many those are. */
    private int scores(int tile, int firstKey, int count, float slope, int window) {
        int tileStart = tile * QUERIES;
        int seen = Math.min(count, Math.min(tileStart + QUERIES, length) - firstKey);
        for (int j = 0; j < seen; j += ROWS) {
            AttentionKernels.scores(k, j * headDim, q, tile * headDim * QUERIES, headDim, p, j * QUERIES);
        }
        boolean masked = firstKey + seen - 1 > tileStart
                || (window > 0 && firstKey <= tileStart + QUERIES - 1 - window);
        if (masked || slope != 0) {
            AttentionKernels.biasAndMask(p, seen, firstKey, position, tileStart, slope, window);
        }
        return seen;
    }

    /** sum becomes its inverse; queries beyond the sequence get no weight at all. */
    private void endStatistics() {
        for (int i = 0; i < tiles * QUERIES; i++) {
            boolean real = i < length;
            sum[i] = real ? 1 / sum[i] : 0;
            max[i] = real ? max[i] : 0;
        }
    }

    private void step(int tile, int seen) {
        int column = tile * headDim * QUERIES;
        int panels = tile * wideDim * QUERIES;
        for (int j = 0; j < seen; j += ROWS) {
            AttentionKernels.scores(v, j * headDim, d, column, headDim, ds, j * QUERIES);
        }
        AttentionKernels.probabilities(p, seen, max, sum, tile * QUERIES);
        AttentionKernels.scoreGradient(p, ds, seen, delta, tile * QUERIES);
        for (int j = 0; j < seen; j += ROWS) {
            for (int c = 0; c < wideDim; c += QUERIES) {
                int at = c * KEYS + j * QUERIES;
                AttentionKernels.scores(p, j * QUERIES, outRows, panels + c * QUERIES, QUERIES, product, 0);
                AttentionKernels.add(product, dv, at);
                AttentionKernels.scores(ds, j * QUERIES, queryRows, panels + c * QUERIES, QUERIES, product, 0);
                AttentionKernels.add(product, dk, at);
            }
        }
        for (int c = 0; c < keyDim; c += ROWS) {
            AttentionKernels.mix(keyPanels, c / PANEL * PANEL * KEYS + c % PANEL, ds, seen, product, 0);
            AttentionKernels.add(product, dq, (tile * keyDim + c) * QUERIES);
        }
    }

    private void unpackPanels(float[] panels, Tensor target, int firstKey, int count) {
        for (int j = 0; j < count; j++) {
            for (int c = 0; c < wideDim; c += QUERIES) {
                System.arraycopy(panels, c * KEYS + j * QUERIES, row, c, QUERIES);
            }
            HeadRows.unpack(row, target, firstKey + j);
        }
    }

    private void finish(Tensor target, float scale) {
        for (int i = 0; i < length; i++) {
            HeadRows.fromLane(dq, i / QUERIES * keyDim * QUERIES + i % QUERIES, headDim, scale, row);
            HeadRows.unpack(row, target, i);
        }
    }
}
