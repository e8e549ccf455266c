package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Causal attention, one query of one head at a time. */
final class ReferenceAttention {

    private final Tensor q;
    private final Tensor k;
    private final Tensor v;
    private final @Nullable Tensor slopes;
    private final AttentionShape shape;
    private final Tensor out;
    /** The weights of one query over the keys of its sequence. */
    private final double[] weights;

    ReferenceAttention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.slopes = slopes;
        this.shape = shape;
        this.out = out;
        this.weights = new double[shape.sequenceLength()];
    }

    void run() {
        for (long first = 0; first < q.rows(); first += shape.sequenceLength()) {
            for (int head = 0; head < shape.heads(); head++) {
                for (int i = 0; i < shape.sequenceLength(); i++) {
                    query(first, head, i);
                }
            }
        }
    }

    /** @param first row of the sequence's position 0 */
    private void query(long first, int head, int i) {
        int from = shape.window() == 0 ? 0 : Math.max(0, i - shape.window() + 1);
        int kvHead = head / (shape.heads() / shape.kvHeads());
        double slope = slopes == null ? 0 : Elements.get(slopes, 0, head);
        for (int j = from; j <= i; j++) {
            weights[j] = dot(first + i, head, first + j, kvHead) * shape.scale() + slope * (j - i);
        }
        softmax(from, i + 1);
        for (int d = 0; d < shape.headDim(); d++) {
            double sum = 0;
            for (int j = from; j <= i; j++) {
                sum += weights[j] * Elements.get(v, first + j, (long) kvHead * shape.headDim() + d);
            }
            Elements.set(out, first + i, (long) head * shape.headDim() + d, sum);
        }
    }

    private double dot(long queryRow, int head, long keyRow, int kvHead) {
        double sum = 0;
        for (int d = 0; d < shape.headDim(); d++) {
            sum += Elements.get(q, queryRow, (long) head * shape.headDim() + d)
                    * Elements.get(k, keyRow, (long) kvHead * shape.headDim() + d);
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
