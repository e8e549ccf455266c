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
    private final int valueDim;
    private final int length;
    private final int tiles;
    /** headDim rounded up to whole panels of keys; the columns between hold zeros. */
    private final int keyDim;
    /** headDim and valueDim rounded up to QUERIES columns, likewise. */
    private final int wideDim;
    private final int wideValueDim;
    /** Per tile [headDim, QUERIES]: the queries, scaled for scores in log2; [valueDim, QUERIES]: dOut. */
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
    /** [KEYS, headDim] and [KEYS, valueDim], and panels of [KEYS, PANEL]. */
    private final float[] k;
    private final float[] v;
    private final float[] keyPanels;
    /** [KEYS, QUERIES], and a row that the online softmax uses. */
    private final float[] p = new float[(KEYS + 1) * QUERIES];
    private final float[] ds = new float[(KEYS + 1) * QUERIES];
    /** Where scores are capped, the derivatives of the cap: as p. */
    private final float[] rises = new float[KEYS * QUERIES];
    /** Panels of [KEYS, QUERIES columns]. */
    private final float[] dk;
    private final float[] dv;
    private final float[] product = new float[ROWS * QUERIES];
    private final float[] row;
    /** [QUERIES, headDim or valueDim] of a tile, and where a vector's lanes lie in it; [QUERIES, valueDim]. */
    private final float[] rows;
    private final int[] strides;
    private final int[] valueStrides;
    private final float[] outputs;

    AttentionGradientBlock(AttentionShape shape) {
        this.headDim = shape.headDim();
        this.valueDim = shape.valueDim();
        this.length = shape.sequenceLength();
        this.tiles = Math.ceilDiv(length, QUERIES);
        this.keyDim = Math.ceilDiv(headDim, PANEL) * PANEL;
        this.wideDim = Math.ceilDiv(headDim, QUERIES) * QUERIES;
        this.wideValueDim = Math.ceilDiv(valueDim, QUERIES) * QUERIES;
        int queries = tiles * QUERIES;
        this.q = new float[queries * headDim];
        this.d = new float[queries * valueDim];
        this.queryRows = new float[queries * wideDim];
        this.outRows = new float[queries * wideValueDim];
        this.dq = new float[queries * keyDim];
        this.max = new float[queries];
        this.sum = new float[queries];
        this.delta = new float[queries];
        this.position = new float[queries];
        this.k = new float[KEYS * headDim];
        this.v = new float[KEYS * valueDim];
        this.keyPanels = new float[KEYS * keyDim];
        this.dk = new float[KEYS * wideDim];
        this.dv = new float[KEYS * wideValueDim];
        this.row = new float[Math.max(wideDim, wideValueDim)];
        this.rows = new float[QUERIES * Math.max(headDim, valueDim)];
        this.outputs = new float[QUERIES * valueDim];
        this.strides = HeadRows.strides(headDim);
        this.valueStrides = HeadRows.strides(valueDim);
    }

    boolean fits(AttentionShape shape) {
        return shape.headDim() == headDim && shape.valueDim() == valueDim && shape.sequenceLength() == length;
    }

    /** One head's columns of one sequence: q, k, dq and dk [length, headDim], the others [length, valueDim]. */
    record Head(Tensor q, Tensor k, Tensor v, Tensor out, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {}

    /**
     * Returns the gradient of the sink; 0 where there is none.
     *
     * @param sink a score that the softmax begins with; minus infinity for none
     */
    double run(Head head, float slope, float sink, AttentionShape shape) {
        begin(head, shape.scale(), sink * LOG2_E);
        float log2Slope = slope * LOG2_E;
        for (int firstKey = 0; firstKey < length; firstKey += KEYS) {
            int count = Math.min(KEYS, length - firstKey);
            HeadRows.pack(head.k(), firstKey, count, k, 0, headDim);
            for (int tile = firstTile(firstKey); tile < tilesEnd(firstKey, count, shape.window()); tile++) {
                int seen = scores(tile, firstKey, count, log2Slope, shape);
                AttentionKernels.softmax(p, seen, max, sum, tile * QUERIES);
            }
        }
        endStatistics();
        for (int firstKey = 0; firstKey < length; firstKey += KEYS) {
            int count = Math.min(KEYS, length - firstKey);
            HeadRows.pack(head.k(), firstKey, count, k, 0, headDim);
            HeadRows.pack(head.v(), firstKey, count, v, 0, valueDim);
            for (int c = 0; c < headDim; c += PANEL) {
                HeadRows.pack(head.k().columns(c, Math.min(PANEL, headDim - c)), firstKey, count, keyPanels, c * KEYS,
                        PANEL);
            }
            Arrays.fill(dk, 0);
            Arrays.fill(dv, 0);
            for (int tile = firstTile(firstKey); tile < tilesEnd(firstKey, count, shape.window()); tile++) {
                step(tile, scores(tile, firstKey, count, log2Slope, shape), shape.softcap() > 0);
            }
            unpackPanels(dk, wideDim, head.dk(), firstKey, count);
            unpackPanels(dv, wideValueDim, head.dv(), firstKey, count);
        }
        finish(head.dq(), shape.scale());
        return ofSink(sink);
    }

    /** The first tile with a query that sees the key. */
    private static int firstTile(int firstKey) {
        return firstKey / QUERIES;
    }

    /** The tile after the last one with a query that sees one of the keys. */
    private int tilesEnd(int firstKey, int count, int window) {
        return window == 0 ? tiles : Math.min(tiles, Math.ceilDiv(firstKey + count - 1 + window, QUERIES));
    }

    private void begin(Head head, float scale, float sink) {
        Arrays.fill(dq, 0);
        Arrays.fill(max, sink);
        Arrays.fill(sum, sink == Float.NEGATIVE_INFINITY ? 0 : 1);
        for (int tile = 0; tile < tiles; tile++) {
            int first = tile * QUERIES;
            int real = Math.min(QUERIES, length - first);
            for (int i = first; i < first + QUERIES; i++) {
                position[i] = i;
            }
            HeadRows.pack(head.q(), first, real, rows, 0, headDim);
            place(headDim, strides, first, real, scale * LOG2_E, q, scale, queryRows);
            HeadRows.pack(head.out(), first, real, outputs, 0, valueDim);
            HeadRows.pack(head.dOut(), first, real, rows, 0, valueDim);
            place(valueDim, valueStrides, first, real, 1, d, 1, outRows);
            for (int i = 0; i < real; i++) {
                delta[first + i] = VectorMath.dot(rows, i * valueDim, outputs, i * valueDim, valueDim);
            }
        }
    }

    /** Puts a tile's rows into lanes, and unchanged into panels; each with its factor. */
    private void place(int columns, int[] laneStrides, int first, int real, float factor, float[] lanes,
            float rowFactor, float[] panels) {
        int wide = Math.ceilDiv(columns, QUERIES) * QUERIES;
        Arrays.fill(rows, real * columns, QUERIES * columns, 0);
        HeadRows.toLanes(rows, laneStrides, columns, factor, lanes, first * columns);
        for (int c = 0; c < columns; c += QUERIES) {
            HeadRows.scale(rows, c, columns, Math.min(QUERIES, columns - c), rowFactor, panels,
                    first * wide + c * QUERIES);
        }
    }

    /** p = the scores of the keys that the tile may see, in log2, with bias and mask; returns how many those are. */
    private int scores(int tile, int firstKey, int count, float slope, AttentionShape shape) {
        int tileStart = tile * QUERIES;
        int seen = Math.min(count, Math.min(tileStart + QUERIES, length) - firstKey);
        for (int j = 0; j < seen; j += ROWS) {
            AttentionKernels.scores(k, j * headDim, q, tile * headDim * QUERIES, headDim, p, j * QUERIES);
        }
        if (shape.softcap() > 0) {
            AttentionKernels.cap(p, seen, shape.softcap() * LOG2_E);
            AttentionKernels.rises(p, seen, shape.softcap() * LOG2_E, rises);
        }
        int window = shape.window();
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

    private void step(int tile, int seen, boolean capped) {
        for (int j = 0; j < seen; j += ROWS) {
            AttentionKernels.scores(v, j * valueDim, d, tile * valueDim * QUERIES, valueDim, ds, j * QUERIES);
        }
        AttentionKernels.probabilities(p, seen, max, sum, tile * QUERIES);
        AttentionKernels.scoreGradient(p, ds, seen, delta, tile * QUERIES);
        if (capped) {
            AttentionKernels.multiply(ds, rises, seen);
        }
        addProducts(p, outRows, tile, wideValueDim, seen, dv);
        addProducts(ds, queryRows, tile, wideDim, seen, dk);
        for (int c = 0; c < keyDim; c += ROWS) {
            AttentionKernels.mix(keyPanels, c / PANEL * PANEL * KEYS + c % PANEL, ds, seen, product, 0);
            AttentionKernels.add(product, dq, (tile * keyDim + c) * QUERIES);
        }
    }

    /** sums [key, column] += the sum over a tile's queries of weights times rows, all in panels. */
    private void addProducts(float[] weights, float[] rowPanels, int tile, int wide, int seen, float[] sums) {
        for (int j = 0; j < seen; j += ROWS) {
            for (int c = 0; c < wide; c += QUERIES) {
                AttentionKernels.scores(weights, j * QUERIES, rowPanels, (tile * wide + c) * QUERIES, QUERIES, product,
                        0);
                AttentionKernels.add(product, sums, c * KEYS + j * QUERIES);
            }
        }
    }

    /** - sum over the queries of the sink's weight times delta. */
    private double ofSink(float sink) {
        double gradient = 0;
        for (int i = 0; sink != Float.NEGATIVE_INFINITY && i < length; i++) {
            gradient -= Math.pow(2, sink * LOG2_E - max[i]) * sum[i] * delta[i];
        }
        return gradient;
    }

    private void unpackPanels(float[] panels, int wide, Tensor target, int firstKey, int count) {
        for (int j = 0; j < count; j++) {
            for (int c = 0; c < wide; c += QUERIES) {
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
