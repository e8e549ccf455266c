package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/** softmax(q k^T scale + bias) over the keys that one query sees: what attention and its gradient both start from. */
final class AttentionWeights {

    private final Tensor q;
    private final Tensor k;
    private final @Nullable Tensor slopes;
    private final AttentionShape shape;
    /** Of one query over the keys of its sequence. */
    private final double[] weights;

    AttentionWeights(Tensor q, Tensor k, @Nullable Tensor slopes, AttentionShape shape) {
        this.q = q;
        this.k = k;
        this.slopes = slopes;
        this.shape = shape;
        this.weights = new double[shape.sequenceLength()];
    }

    /** The first position that the query at position i sees; i is the last. */
    int firstSeen(int i) {
        return shape.window() == 0 ? 0 : Math.max(0, i - shape.window() + 1);
    }

    /**
     * The weights at positions [firstSeen(i), i] of the sequence; overwritten by the next call.
     *
     * @param first row of the sequence's position 0
     */
    double[] of(long first, int head, int i) {
        int from = firstSeen(i);
        int kvHead = head / (shape.heads() / shape.kvHeads());
        double slope = slopes == null ? 0 : Elements.get(slopes, 0, head);
        for (int j = from; j <= i; j++) {
            weights[j] = dot(shape, q, first + i, head, k, first + j, kvHead) * shape.scale() + slope * (j - i);
        }
        softmax(from, i + 1);
        return weights;
    }

    /** The column of element d of a head. */
    static long column(AttentionShape shape, int head, int d) {
        return (long) head * shape.headDim() + d;
    }

    /** The product of two heads' vectors. */
    static double dot(AttentionShape shape, Tensor a, long rowOfA, int headOfA, Tensor b, long rowOfB, int headOfB) {
        double sum = 0;
        for (int d = 0; d < shape.headDim(); d++) {
            sum += Elements.get(a, rowOfA, column(shape, headOfA, d))
                    * Elements.get(b, rowOfB, column(shape, headOfB, d));
        }
        return sum;
    }

    /** weights[from, to) = exp(w - max w) / sum exp(w - max w). */
    private void softmax(int from, int to) {
        double max = Double.NEGATIVE_INFINITY;
        for (int j = from; j < to; j++) {
            max = Math.max(max, weights[j]);
        }
        double sum = 0;
        for (int j = from; j < to; j++) {
            weights[j] = Math.exp(weights[j] - max);
            sum += weights[j];
        }
        for (int j = from; j < to; j++) {
            weights[j] /= sum;
        }
    }
}
