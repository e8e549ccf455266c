package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.attention.AttentionKernels.PANEL;
import static dev.optgptq.kernels.cpu.attention.AttentionKernels.QUERIES;
import static dev.optgptq.kernels.cpu.attention.AttentionKernels.ROWS;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.Arrays;

/**
 * Attention for up to TILES tiles of neighbouring queries of one head, with the memory it works in: it does not grow with
 * the sequence. Keys and values pass by once in blocks of KEYS; each block is packed once and used by every tile. This is
 * the online softmax of FlashAttention-2 (arXiv 2307.08691, algorithm 1) with queries along the vector lanes.
 */
final class AttentionBlock {

    static final int TILES = 8;
    /** Keys per step. Scores of a tile (8 KiB at 16 lanes) stay in the first-level cache with the keys they need. */
    static final int KEYS = 64;
    private static final float LOG2_E = 1.442695f;

    private final int headDim;
    private final int valueDim;
    /** valueDim rounded up to whole panels; the columns between hold zeros. */
    private final int panelDim;
    /** Per tile [headDim, QUERIES], scaled. */
    private final float[] q;
    /** [KEYS, headDim]. */
    private final float[] k;
    /** Panels of [KEYS, PANEL], panelDim / PANEL of them. */
    private final float[] v;
    /** [KEYS, QUERIES], and a row for the decay of what came before. */
    private final float[] scores = new float[(KEYS + 1) * QUERIES];
    /** Per tile [panelDim, QUERIES]. */
    private final float[] o;
    /** Per tile [QUERIES], as are sum and position. */
    private final float[] max = new float[TILES * QUERIES];
    private final float[] sum = new float[TILES * QUERIES];
    private final float[] position = new float[TILES * QUERIES];
    private final float[] mixed = new float[ROWS * QUERIES];
    private final float[] row;
    /** [QUERIES, headDim], and where a vector's lanes lie in it. */
    private final float[] rows;
    private final int[] strides;

    AttentionBlock(int headDim, int valueDim) {
        this.headDim = headDim;
        this.valueDim = valueDim;
        this.panelDim = Math.ceilDiv(valueDim, PANEL) * PANEL;
        this.q = new float[TILES * headDim * QUERIES];
        this.k = new float[KEYS * headDim];
        this.v = new float[KEYS * panelDim];
        this.o = new float[TILES * panelDim * QUERIES];
        this.row = new float[panelDim];
        this.rows = new float[QUERIES * headDim];
        this.strides = HeadRows.strides(headDim);
    }

    boolean fits(AttentionShape shape) {
        return shape.headDim() == headDim && shape.valueDim() == valueDim;
    }

    /**
     * Computes out for the queries from firstQuery on, at most TILES * QUERIES. All tensors are one head's columns of one
     * sequence: queries and keys [sequenceLength, headDim], values and out [sequenceLength, valueDim].
     *
     * @param sink the score that the softmax begins with; minus infinity for none
     */
    void run(Tensor queries, Tensor keys, Tensor values, int firstQuery, float slope, float sink,
            AttentionShape shape, Tensor out) {
        int length = shape.sequenceLength();
        int end = Math.min(firstQuery + TILES * QUERIES, length);
        int tiles = Math.ceilDiv(end - firstQuery, QUERIES);
        begin(queries, firstQuery, tiles, shape.scale() * LOG2_E, sink * LOG2_E);
        int from = firstVisible(firstQuery, shape.window());
        for (int firstKey = from; firstKey < end; firstKey += KEYS) {
            int count = Math.min(KEYS, end - firstKey);
            HeadRows.pack(keys, firstKey, count, k, 0, headDim);
            for (int d = 0; d < valueDim; d += PANEL) {
                HeadRows.pack(values.columns(d, Math.min(PANEL, valueDim - d)), firstKey, count, v, d * KEYS, PANEL);
            }
            for (int tile = 0; tile < tiles; tile++) {
                int tileStart = firstQuery + tile * QUERIES;
                int tileEnd = Math.min(tileStart + QUERIES, length);
                int seen = Math.min(count, tileEnd - firstKey);
                if (seen > 0 && firstKey + count > firstVisible(tileStart, shape.window())) {
                    step(tile, tileStart, firstKey, seen, slope * LOG2_E, shape);
                }
            }
        }
        finish(out, firstQuery, end);
    }

    private static int firstVisible(int query, int window) {
        return window == 0 ? 0 : Math.max(0, query - window + 1);
    }

    /** A sink is a key without a value, which every query has seen before the first. */
    private void begin(Tensor queries, int firstQuery, int tiles, float scale, float sink) {
        Arrays.fill(o, 0);
        Arrays.fill(max, sink);
        Arrays.fill(sum, sink == Float.NEGATIVE_INFINITY ? 0 : 1);
        for (int i = 0; i < tiles * QUERIES; i++) {
            position[i] = firstQuery + i;
        }
        for (int tile = 0; tile < tiles; tile++) {
            int first = firstQuery + tile * QUERIES;
            int real = (int) Math.min(QUERIES, queries.rows() - first);
            HeadRows.pack(queries, first, real, rows, 0, headDim);
            Arrays.fill(rows, real * headDim, QUERIES * headDim, 0);
            HeadRows.toLanes(rows, strides, headDim, scale, q, tile * headDim * QUERIES);
        }
    }

    private void step(int tile, int tileStart, int firstKey, int count, float slope, AttentionShape shape) {
        for (int j = 0; j < count; j += ROWS) {
            AttentionKernels.scores(k, j * headDim, q, tile * headDim * QUERIES, headDim, scores, j * QUERIES);
        }
        if (shape.softcap() > 0) {
            AttentionKernels.cap(scores, count, shape.softcap() * LOG2_E);
        }
        int window = shape.window();
        boolean masked = firstKey + count - 1 > tileStart
                || (window > 0 && firstKey <= tileStart + QUERIES - 1 - window);
        if (masked || slope != 0) {
            AttentionKernels.biasAndMask(scores, count, firstKey, position, tile * QUERIES, slope, window);
        }
        AttentionKernels.softmax(scores, count, max, sum, tile * QUERIES);
        for (int d = 0; d < panelDim; d += ROWS) {
            AttentionKernels.mix(v, d / PANEL * PANEL * KEYS + d % PANEL, scores, count, mixed, 0);
            AttentionKernels.fadeAndAdd(mixed, scores, count * QUERIES, o, (tile * panelDim + d) * QUERIES);
        }
    }

    private void finish(Tensor out, int firstQuery, int end) {
        for (int i = 0; i < end - firstQuery; i++) {
            float inverse = 1 / sum[i];
            int column = i / QUERIES * panelDim * QUERIES + i % QUERIES;
            HeadRows.fromLane(o, column, valueDim, inverse, row);
            HeadRows.unpack(row, out, firstQuery + i);
        }
    }
}
