package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.GradientOps.Attended;
import dev.optgptq.kernels.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;

/** The gradient through causal attention, one query of one head at a time. */
final class ReferenceAttentionGradient {

    private final Attended forward;
    private final AttentionShape shape;
    private final Tensor dOut;
    private final Tensor dq;
    private final Tensor dk;
    private final Tensor dv;
    /** Of one query over the keys of its sequence. */
    private final double[] weights;
    /** Of one KV head of one sequence, [sequenceLength, headDim]. */
    private final double[][] keySums;
    private final double[][] valueSums;

    ReferenceAttentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {
        this.forward = forward;
        this.shape = forward.shape();
        this.dOut = dOut;
        this.dq = dq;
        this.dk = dk;
        this.dv = dv;
        this.weights = new double[shape.sequenceLength()];
        this.keySums = new double[shape.sequenceLength()][shape.headDim()];
        this.valueSums = new double[shape.sequenceLength()][shape.headDim()];
    }

    void run() {
        int group = shape.heads() / shape.kvHeads();
        for (long first = 0; first < dOut.rows(); first += shape.sequenceLength()) {
            for (int kvHead = 0; kvHead < shape.kvHeads(); kvHead++) {
                for (int j = 0; j < shape.sequenceLength(); j++) {
                    java.util.Arrays.fill(keySums[j], 0);
                    java.util.Arrays.fill(valueSums[j], 0);
                }
                for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
                    for (int i = 0; i < shape.sequenceLength(); i++) {
                        query(first, head, kvHead, i);
                    }
                }
                for (int j = 0; j < shape.sequenceLength(); j++) {
                    for (int d = 0; d < shape.headDim(); d++) {
                        Elements.set(dk, first + j, column(kvHead, d), keySums[j][d]);
                        Elements.set(dv, first + j, column(kvHead, d), valueSums[j][d]);
                    }
                }
            }
        }
    }

    /** @param first row of the sequence's position 0 */
    private void query(long first, int head, int kvHead, int i) {
        int from = shape.window() == 0 ? 0 : Math.max(0, i - shape.window() + 1);
        Tensor slopes = forward.slopes();
        double slope = slopes == null ? 0 : Elements.get(slopes, 0, head);
        for (int j = from; j <= i; j++) {
            weights[j] = dot(forward.q(), first + i, head, forward.k(), first + j, kvHead) * shape.scale()
                    + slope * (j - i);
        }
        softmax(from, i + 1);
        double mean = dot(dOut, first + i, head, forward.out(), first + i, head);
        double[] sum = new double[shape.headDim()];
        for (int j = from; j <= i; j++) {
            double slopeOfScore = weights[j] * (dot(dOut, first + i, head, forward.v(), first + j, kvHead) - mean)
                    * shape.scale();
            for (int d = 0; d < shape.headDim(); d++) {
                sum[d] += slopeOfScore * Elements.get(forward.k(), first + j, column(kvHead, d));
                keySums[j][d] += slopeOfScore * Elements.get(forward.q(), first + i, column(head, d));
                valueSums[j][d] += weights[j] * Elements.get(dOut, first + i, column(head, d));
            }
        }
        for (int d = 0; d < shape.headDim(); d++) {
            Elements.set(dq, first + i, column(head, d), sum[d]);
        }
    }

    private long column(int head, int d) {
        return (long) head * shape.headDim() + d;
    }

    private double dot(Tensor a, long rowOfA, int headOfA, Tensor b, long rowOfB, int headOfB) {
        double sum = 0;
        for (int d = 0; d < shape.headDim(); d++) {
            sum += Elements.get(a, rowOfA, column(headOfA, d)) * Elements.get(b, rowOfB, column(headOfB, d));
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
