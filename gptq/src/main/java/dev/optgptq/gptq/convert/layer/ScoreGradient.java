package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.GradientOps.CurvatureWeights;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/**
 * The second order of the divergence between attentions, and its gradient. Near p = softmax(s), KL(p || softmax(s + e)) is half the
 * variance of e under p, with gradient J e, J = diag(p) - p p^T the softmax's Jacobian. Scores are matrices [T, T] for some heads of a
 * sequence at a time: what costs is then large matmuls.
 *
 * @param shape of the original
 */
record ScoreGradient(Device device, AttentionShape shape) {

    /** Memory limit of one of three matrices of scores. */
    private static final long SCORE_BYTES = 256L << 20;

    /** The side that receives the gradient. */
    enum Side {
        /** to queries: the sum over keys of J e times them */
        QUERIES,
        /** to keys: the sum over queries of J e times them */
        KEYS
    }

    /** Queries of all heads [N, heads width], and keys of as many or fewer heads, which neighbours share. */
    record Scores(Tensor queries, Tensor keys) {

        private Scores rows(long from, long count) {
            return new Scores(queries.rows(from, count), keys.rows(from, count));
        }

        private Tensor query(int head, int heads) {
            return columns(queries, head, queries.columns() / heads);
        }

        private Tensor key(int head, int heads) {
            long width = queries.columns() / heads;
            int sharing = Math.toIntExact(queries.columns() / keys.columns());
            return columns(keys, head / sharing, width);
        }

        private static Tensor columns(Tensor all, int head, long width) {
            return all.columns(head * width, width);
        }
    }

    /** An attention that weighs errors, by the scores of its softmax, with ALiBi's slopes if there are any. */
    record Weighing(Scores scores, @Nullable Tensor slopes) {}

    /**
     * A gradient to compute.
     *
     * @param weights of the softmax of first, of that of second, and of uniform attention
     * @param errors e_ij = queries_i . keys_j, without the shape's scale; heads of any width
     * @param carried what J e is multiplied by: its keys when it goes to queries, its queries when it goes to keys
     */
    record Problem(Side side, Weighing first, Weighing second, CurvatureWeights weights, Scores errors,
            Scores carried) {}

    /** into [N, heads headDim] = factor scale sum (J e) f, N whole sequences. */
    void run(Problem problem, float factor, Tensor into) {
        long length = shape.sequenceLength();
        int together = Math.clamp(SCORE_BYTES / (length * length * Float.BYTES), 1, shape.heads());
        try (TensorArena arena = device.arena()) {
            Tensor first = arena.matrix(DType.F32, together * length, length);
            Tensor second = arena.matrix(DType.F32, together * length, length);
            Tensor errors = arena.matrix(DType.F32, together * length, length);
            for (long row = 0; row < into.rows(); row += length) {
                for (int head = 0; head < shape.heads(); head += together) {
                    long n = Math.min(together, shape.heads() - head) * length;
                    attention(problem.first, row, head, first.rows(0, n));
                    attention(problem.second, row, head, second.rows(0, n));
                    products(problem.errors.rows(row, length), head, errors.rows(0, n));
                    device.gradient().attentionCurvature(first.rows(0, n), second.rows(0, n), problem.weights,
                            shape.window(), errors.rows(0, n));
                    carry(problem, factor * shape.scale(), row, head, errors.rows(0, n), into);
                }
            }
            device.synchronize();
        }
    }

    /** The softmaxes of heads from this one on, [length, length] each, one under the other. */
    private void attention(Weighing weighing, long row, int head, Tensor into) {
        products(weighing.scores.rows(row, shape.sequenceLength()), head, into);
        Tensor slopes = weighing.slopes;
        device.neural().causalSoftmax(into, shape.scale(),
                slopes == null ? null : slopes.columns(head, into.rows() / shape.sequenceLength()), shape.window());
    }

    private void products(Scores scores, int head, Tensor into) {
        long length = shape.sequenceLength();
        for (int i = 0; i < into.rows() / length; i++) {
            device.matrix().gemm(1, scores.query(head + i, shape.heads()), false,
                    scores.key(head + i, shape.heads()), true, 0, into.rows(i * length, length));
        }
    }

    private void carry(Problem problem, float factor, long row, int head, Tensor curved, Tensor into) {
        long length = shape.sequenceLength();
        Scores carried = problem.carried.rows(row, length);
        Tensor rows = into.rows(row, length);
        for (int i = 0; i < curved.rows() / length; i++) {
            boolean toQueries = problem.side == Side.QUERIES;
            Tensor by = toQueries ? carried.key(head + i, shape.heads()) : carried.query(head + i, shape.heads());
            device.matrix().gemm(factor, curved.rows(i * length, length), !toQueries, by, false, 0,
                    Scores.columns(rows, head + i, shape.headDim()));
        }
    }
}
