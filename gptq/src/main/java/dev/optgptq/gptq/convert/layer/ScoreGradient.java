package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The second order of the divergence between attentions, and its gradient. Near p = softmax(s), KL(p || softmax(s + e)) is
 * half the variance of e under p, with gradient J e, J = diag(p) - p p^T the softmax's Jacobian. That is what the backward
 * pass of attention computes: with errors e_ij = a_i . b_j given as dOut = a and values = b, its dq_i = scale sum_j (J_i e_i)_j
 * k_j, and its dk_j likewise. No matrix of scores is formed.
 *
 * <p>
 * The keys of the softmax differ from those of the error gradient: queries and keys of twice the width hold both, with
 * zeros where they must not interact.
 *
 * @param shape with as many key-value heads as query heads
 */
record ScoreGradient(Device device, AttentionShape shape) {

    /** The side that receives the gradient. */
    enum Side {
        /** to queries: the sum over keys of J e times them */
        QUERIES,
        /** to keys: the sum over queries of J e times them */
        KEYS
    }

    /** Queries and keys of all heads, [N, heads headDim] each. */
    record Scores(Tensor queries, Tensor keys) {}

    /**
     * into [N, heads headDim] += factor scale sum (J e) f, J by the softmax of the weighing scores.
     *
     * @param weighing decides J; null for uniform attention
     * @param slopes of ALiBi in the weighing scores; null where there are none
     * @param errors e_ij = queries_i . keys_j, without the shape's scale; heads of any width
     * @param carried f: the keys when it goes to queries, the queries when it goes to keys
     */
    void add(Side side, @Nullable Scores weighing, @Nullable Tensor slopes, Scores errors, Tensor carried,
            double factor, Tensor into, DeviceVectors vectors) {
        int d = shape.headDim();
        int width = Math.toIntExact(errors.keys().columns() / shape.heads());
        AttentionShape wide = new AttentionShape(shape.sequenceLength(), shape.heads(), shape.heads(), 2 * d, width,
                shape.scale(), 0, shape.window());
        long n = carried.rows();
        try (TensorArena arena = device.arena()) {
            Tensor q = wide(arena, n);
            Tensor k = wide(arena, n);
            if (weighing != null) {
                place(weighing.queries(), q, 0);
                place(weighing.keys(), k, 0);
            }
            place(carried, side == Side.QUERIES ? k : q, d);
            Tensor out = arena.matrix(DType.F32, n, errors.keys().columns());
            device.neural().attention(q, k, errors.keys(), slopes, wide, out);
            Tensor dQueries = wide(arena, n);
            Tensor dKeys = wide(arena, n);
            Tensor dValues = arena.matrix(DType.F32, n, errors.keys().columns());
            device.gradient().attentionGradient(new Attended(q, k, errors.keys(), slopes, wide, out),
                    errors.queries(), dQueries, dKeys, dValues);
            Tensor found = arena.matrix(DType.F32, n, into.columns());
            take(side == Side.QUERIES ? dQueries : dKeys, d, found);
            vectors.combine(factor, found, 1, into);
            device.synchronize();
        }
    }

    private Tensor wide(TensorArena arena, long n) {
        Tensor wide = arena.matrix(DType.F32, n, 2L * shape.heads() * shape.headDim());
        device.matrix().fill(wide, 0);
        return wide;
    }

    /** Into columns [offset, offset + headDim) of every wide head. */
    private void place(Tensor narrow, Tensor wide, int offset) {
        int d = shape.headDim();
        for (int head = 0; head < shape.heads(); head++) {
            device.matrix().copy(narrow.columns((long) head * d, d), wide.columns(2L * head * d + offset, d));
        }
    }

    private void take(Tensor wide, int offset, Tensor narrow) {
        int d = shape.headDim();
        for (int head = 0; head < shape.heads(); head++) {
            device.matrix().copy(wide.columns(2L * head * d + offset, d), narrow.columns((long) head * d, d));
        }
    }
}
