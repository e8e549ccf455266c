package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.cpu.loops.VectorMath;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * The inner loops of attention. A tile is QUERIES queries of one head, one query per vector lane, so softmax works on
 * whole vectors without reducing across lanes, and keys and values are broadcast straight from their rows, untransposed.
 * The two products keep 8 x QUERIES sums in 16 vector registers and do 16 fused multiply-adds for 10 loads.
 */
final class AttentionKernels {

    /** Queries in a tile: two vectors. */
    static final int QUERIES = 2 * LANES;
    /** Rows of a register block: keys in scores, value columns in mix. */
    static final int ROWS = 8;
    /** Columns of a panel of packed values: a whole number of vectors and of register blocks. */
    static final int PANEL = Math.max(LANES, ROWS);

    private AttentionKernels() {}

    /**
     * Scores of eight keys: c[j, i] = sum_d k[j, d] q[d, i]. k eight rows of headDim, q [headDim, QUERIES], c [8,
     * QUERIES].
     */
    static void scores(float[] k, int kStart, float[] q, int qStart, int headDim, float[] c, int cStart) {
        int k1 = kStart + headDim;
        int k2 = k1 + headDim;
        int k3 = k2 + headDim;
        int k4 = k3 + headDim;
        int k5 = k4 + headDim;
        int k6 = k5 + headDim;
        int k7 = k6 + headDim;
        FloatVector x0 = FloatVector.zero(SPECIES);
        FloatVector y0 = x0;
        FloatVector x1 = x0;
        FloatVector y1 = x0;
        FloatVector x2 = x0;
        FloatVector y2 = x0;
        FloatVector x3 = x0;
        FloatVector y3 = x0;
        FloatVector x4 = x0;
        FloatVector y4 = x0;
        FloatVector x5 = x0;
        FloatVector y5 = x0;
        FloatVector x6 = x0;
        FloatVector y6 = x0;
        FloatVector x7 = x0;
        FloatVector y7 = x0;
        for (int d = 0; d < headDim; d++) {
            FloatVector bx = FloatVector.fromArray(SPECIES, q, qStart + d * QUERIES);
            FloatVector by = FloatVector.fromArray(SPECIES, q, qStart + d * QUERIES + LANES);
            FloatVector e = FloatVector.broadcast(SPECIES, k[kStart + d]);
            x0 = bx.fma(e, x0);
            y0 = by.fma(e, y0);
            e = FloatVector.broadcast(SPECIES, k[k1 + d]);
            x1 = bx.fma(e, x1);
            y1 = by.fma(e, y1);
            e = FloatVector.broadcast(SPECIES, k[k2 + d]);
            x2 = bx.fma(e, x2);
            y2 = by.fma(e, y2);
            e = FloatVector.broadcast(SPECIES, k[k3 + d]);
            x3 = bx.fma(e, x3);
            y3 = by.fma(e, y3);
            e = FloatVector.broadcast(SPECIES, k[k4 + d]);
            x4 = bx.fma(e, x4);
            y4 = by.fma(e, y4);
            e = FloatVector.broadcast(SPECIES, k[k5 + d]);
            x5 = bx.fma(e, x5);
            y5 = by.fma(e, y5);
            e = FloatVector.broadcast(SPECIES, k[k6 + d]);
            x6 = bx.fma(e, x6);
            y6 = by.fma(e, y6);
            e = FloatVector.broadcast(SPECIES, k[k7 + d]);
            x7 = bx.fma(e, x7);
            y7 = by.fma(e, y7);
        }
        store(x0, y0, c, cStart);
        store(x1, y1, c, cStart + QUERIES);
        store(x2, y2, c, cStart + 2 * QUERIES);
        store(x3, y3, c, cStart + 3 * QUERIES);
        store(x4, y4, c, cStart + 4 * QUERIES);
        store(x5, y5, c, cStart + 5 * QUERIES);
        store(x6, y6, c, cStart + 6 * QUERIES);
        store(x7, y7, c, cStart + 7 * QUERIES);
    }

    /**
     * Eight columns of weighted values: c[d, i] = sum_j v[j, d] p[j, i]. v is a panel of keys rows of PANEL columns,
     * of which those from vStart on count, p [keys, QUERIES], c [8, QUERIES].
     */
    static void mix(float[] v, int vStart, float[] p, int keys, float[] c, int cStart) {
        FloatVector x0 = FloatVector.zero(SPECIES);
        FloatVector y0 = x0;
        FloatVector x1 = x0;
        FloatVector y1 = x0;
        FloatVector x2 = x0;
        FloatVector y2 = x0;
        FloatVector x3 = x0;
        FloatVector y3 = x0;
        FloatVector x4 = x0;
        FloatVector y4 = x0;
        FloatVector x5 = x0;
        FloatVector y5 = x0;
        FloatVector x6 = x0;
        FloatVector y6 = x0;
        FloatVector x7 = x0;
        FloatVector y7 = x0;
        for (int j = 0; j < keys; j++) {
            FloatVector bx = FloatVector.fromArray(SPECIES, p, j * QUERIES);
            FloatVector by = FloatVector.fromArray(SPECIES, p, j * QUERIES + LANES);
            int row = vStart + j * PANEL;
            FloatVector e = FloatVector.broadcast(SPECIES, v[row]);
            x0 = bx.fma(e, x0);
            y0 = by.fma(e, y0);
            e = FloatVector.broadcast(SPECIES, v[row + 1]);
            x1 = bx.fma(e, x1);
            y1 = by.fma(e, y1);
            e = FloatVector.broadcast(SPECIES, v[row + 2]);
            x2 = bx.fma(e, x2);
            y2 = by.fma(e, y2);
            e = FloatVector.broadcast(SPECIES, v[row + 3]);
            x3 = bx.fma(e, x3);
            y3 = by.fma(e, y3);
            e = FloatVector.broadcast(SPECIES, v[row + 4]);
            x4 = bx.fma(e, x4);
            y4 = by.fma(e, y4);
            e = FloatVector.broadcast(SPECIES, v[row + 5]);
            x5 = bx.fma(e, x5);
            y5 = by.fma(e, y5);
            e = FloatVector.broadcast(SPECIES, v[row + 6]);
            x6 = bx.fma(e, x6);
            y6 = by.fma(e, y6);
            e = FloatVector.broadcast(SPECIES, v[row + 7]);
            x7 = bx.fma(e, x7);
            y7 = by.fma(e, y7);
        }
        store(x0, y0, c, cStart);
        store(x1, y1, c, cStart + QUERIES);
        store(x2, y2, c, cStart + 2 * QUERIES);
        store(x3, y3, c, cStart + 3 * QUERIES);
        store(x4, y4, c, cStart + 4 * QUERIES);
        store(x5, y5, c, cStart + 5 * QUERIES);
        store(x6, y6, c, cStart + 6 * QUERIES);
        store(x7, y7, c, cStart + 7 * QUERIES);
    }

    /** o[d, i] = o[d, i] decay[i] + added[d, i], eight rows: o, added [8, QUERIES]. */
    static void fadeAndAdd(float[] added, float[] decay, int decayStart, float[] o, int oStart) {
        for (int half = 0; half < QUERIES; half += LANES) {
            FloatVector fade = FloatVector.fromArray(SPECIES, decay, decayStart + half);
            for (int d = 0; d < ROWS; d++) {
                int at = oStart + d * QUERIES + half;
                fade.fma(FloatVector.fromArray(SPECIES, o, at),
                        FloatVector.fromArray(SPECIES, added, d * QUERIES + half))
                        .intoArray(o, at);
            }
        }
    }

    private static void store(FloatVector a, FloatVector b, float[] target, int start) {
        a.intoArray(target, start);
        b.intoArray(target, start + LANES);
    }

    /**
     * One step of the online softmax, in units of log2: s [keys, QUERIES] becomes p = 2^(s - max), where max, [QUERIES],
     * grows to take in these keys, and sum, [QUERIES], becomes sum decay + sum_j p. The row after the keys receives decay =
     * 2^(old max - max). A query that sees none of the keys so far has max -inf; its p are 0.
     *
     * <p>
     * exp2 stands here once, for the decay as for the keys: C2 stops inlining after 18,000 nodes, a vector operation costs
     * some 250 before it becomes one instruction, and a call that is left allocates its vectors.
     */
    static void softmax(float[] s, int keys, float[] max, float[] sum, int start) {
        for (int half = 0; half < QUERIES; half += LANES) {
            FloatVector top = FloatVector.fromArray(SPECIES, max, start + half);
            top.intoArray(s, keys * QUERIES + half);
            for (int j = 0; j < keys; j++) {
                top = VectorMath.larger(FloatVector.fromArray(SPECIES, s, j * QUERIES + half), top);
            }
            top.intoArray(max, start + half);
            // -inf - -inf would be NaN; any finite number in its place gives 2^-inf = 0.
            FloatVector from = top.blend(0f, top.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY));
            for (int j = 0; j <= keys; j++) {
                VectorMath.exp2(FloatVector.fromArray(SPECIES, s, j * QUERIES + half).sub(from)).intoArray(s,
                        j * QUERIES + half);
            }
            FloatVector total = FloatVector.fromArray(SPECIES, sum, start + half)
                    .mul(FloatVector.fromArray(SPECIES, s, keys * QUERIES + half));
            for (int j = 0; j < keys; j++) {
                total = total.add(FloatVector.fromArray(SPECIES, s, j * QUERIES + half));
            }
            total.intoArray(sum, start + half);
        }
    }

    /**
     * s[j, i] gains slope (j - i), with j - i = firstKey + j - position[i]; where a query does not see the key, j - i
     * above 0 or at most -window, s becomes -inf.
     */
    static void biasAndMask(float[] s, int keys, int firstKey, float[] position, int start, float slope, int window) {
        FloatVector slopes = FloatVector.broadcast(SPECIES, slope);
        FloatVector oldest = FloatVector.broadcast(SPECIES, window == 0 ? Float.NEGATIVE_INFINITY : -window);
        FloatVector unseen = FloatVector.broadcast(SPECIES, Float.NEGATIVE_INFINITY);
        FloatVector zero = FloatVector.zero(SPECIES);
        for (int half = 0; half < QUERIES; half += LANES) {
            FloatVector distance = FloatVector.broadcast(SPECIES, firstKey)
                    .sub(FloatVector.fromArray(SPECIES, position, start + half));
            for (int j = 0; j < keys; j++) {
                distance.fma(slopes, FloatVector.fromArray(SPECIES, s, j * QUERIES + half))
                        .blend(unseen, distance.compare(VectorOperators.GT, zero))
                        .blend(unseen, distance.compare(VectorOperators.LE, oldest)).intoArray(s, j * QUERIES + half);
                distance = distance.add(1f);
            }
        }
    }

    /** s [keys, QUERIES] becomes cap tanh(s / cap). */
    static void cap(float[] s, int keys, float cap) {
        for (int i = 0; i < keys * QUERIES; i += LANES) {
            VectorMath.tanh(FloatVector.fromArray(SPECIES, s, i).mul(1 / cap)).mul(cap).intoArray(s, i);
        }
    }

    /** What cap gave, in s, becomes the derivative 1 - (s / cap)^2 in rises. */
    static void rises(float[] s, int keys, float cap, float[] rises) {
        FloatVector one = FloatVector.broadcast(SPECIES, 1);
        for (int i = 0; i < keys * QUERIES; i += LANES) {
            FloatVector t = FloatVector.fromArray(SPECIES, s, i).mul(1 / cap);
            one.sub(t).mul(one.add(t)).intoArray(rises, i);
        }
    }

    /** a *= b, both [keys, QUERIES]. */
    static void multiply(float[] a, float[] b, int keys) {
        for (int i = 0; i < keys * QUERIES; i += LANES) {
            FloatVector.fromArray(SPECIES, a, i).mul(FloatVector.fromArray(SPECIES, b, i)).intoArray(a, i);
        }
    }

    /** s [keys, QUERIES] becomes p = 2^(s - max) inverse; max, inverse [QUERIES]. A query that sees nothing has max 0. */
    static void probabilities(float[] s, int keys, float[] max, float[] inverse, int start) {
        for (int half = 0; half < QUERIES; half += LANES) {
            FloatVector top = FloatVector.fromArray(SPECIES, max, start + half);
            FloatVector factor = FloatVector.fromArray(SPECIES, inverse, start + half);
            for (int j = 0; j < keys; j++) {
                VectorMath.exp2(FloatVector.fromArray(SPECIES, s, j * QUERIES + half).sub(top)).mul(factor)
                        .intoArray(s, j * QUERIES + half);
            }
        }
    }

    /** dp [keys, QUERIES] becomes p (dp - delta): p [keys, QUERIES], delta [QUERIES]. */
    static void scoreGradient(float[] p, float[] dp, int keys, float[] delta, int start) {
        for (int half = 0; half < QUERIES; half += LANES) {
            FloatVector mean = FloatVector.fromArray(SPECIES, delta, start + half);
            for (int j = 0; j < keys; j++) {
                int at = j * QUERIES + half;
                FloatVector.fromArray(SPECIES, dp, at).sub(mean).mul(FloatVector.fromArray(SPECIES, p, at))
                        .intoArray(dp, at);
            }
        }
    }

    /** target += added, a block of [8, QUERIES]. */
    static void add(float[] added, float[] target, int start) {
        for (int i = 0; i < ROWS * QUERIES; i += LANES) {
            FloatVector.fromArray(SPECIES, target, start + i).add(FloatVector.fromArray(SPECIES, added, i))
                    .intoArray(target, start + i);
        }
    }
}
