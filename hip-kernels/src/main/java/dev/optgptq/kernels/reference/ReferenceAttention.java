package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;

/** Causal attention, one query of one head at a time. */
final class ReferenceAttention {

    private final Attended attended;
    private final AttentionWeights weights;
    private final AttentionShape shape;

    ReferenceAttention(Attended attended) {
        this.attended = attended;
        this.weights = new AttentionWeights(attended);
        this.shape = attended.shape();
    }

    void run() {
        for (long first = 0; first < attended.out().rows(); first += shape.sequenceLength()) {
            for (int head = 0; head < shape.heads(); head++) {
                for (int i = 0; i < shape.sequenceLength(); i++) {
                    query(first, head, i);
                }
            }
        }
    }

    /** @param first row of the sequence's position 0 */
    private void query(long first, int head, int i) {
        int valueDim = shape.valueDim();
        long column = (long) head / shape.group() * valueDim;
        double[] weight = weights.of(first, head, i);
        for (int d = 0; d < valueDim; d++) {
            double sum = 0;
            for (int j = weights.firstSeen(i); j <= i; j++) {
                sum += weight[j] * Elements.get(attended.v(), first + j, column + d);
            }
            Elements.set(attended.out(), first + i, (long) head * valueDim + d, sum);
        }
    }
}
