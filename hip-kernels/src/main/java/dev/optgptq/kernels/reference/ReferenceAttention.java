package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/** Causal attention, one query of one head at a time. */
final class ReferenceAttention {

    private final AttentionWeights weights;
    private final Tensor v;
    private final AttentionShape shape;
    private final Tensor out;

    ReferenceAttention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        this.weights = new AttentionWeights(q, k, slopes, shape);
        this.v = v;
        this.shape = shape;
        this.out = out;
    }

    void run() {
        for (long first = 0; first < out.rows(); first += shape.sequenceLength()) {
            for (int head = 0; head < shape.heads(); head++) {
                for (int i = 0; i < shape.sequenceLength(); i++) {
                    query(first, head, i);
                }
            }
        }
    }

    /** @param first row of the sequence's position 0 */
    private void query(long first, int head, int i) {
        int kvHead = head / (shape.heads() / shape.kvHeads());
        double[] weight = weights.of(first, head, i);
        for (int d = 0; d < shape.headDim(); d++) {
            double sum = 0;
            for (int j = weights.firstSeen(i); j <= i; j++) {
                sum += weight[j] * Elements.get(v, first + j, AttentionWeights.column(shape, kvHead, d));
            }
            Elements.set(out, first + i, AttentionWeights.column(shape, head, d), sum);
        }
    }
}
