package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.Arrays;

/** The gradient through causal attention, one query of one head at a time. */
final class ReferenceAttentionGradient {

    private final Attended forward;
    private final AttentionShape shape;
    private final Tensor dOut;
    private final Tensor dq;
    private final Tensor dk;
    private final Tensor dv;
    private final AttentionWeights weights;
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
        this.weights = new AttentionWeights(forward.q(), forward.k(), forward.slopes(), shape);
        this.keySums = new double[shape.sequenceLength()][shape.headDim()];
        this.valueSums = new double[shape.sequenceLength()][shape.headDim()];
    }

    void run() {
        int group = shape.heads() / shape.kvHeads();
        for (long first = 0; first < dOut.rows(); first += shape.sequenceLength()) {
            for (int kvHead = 0; kvHead < shape.kvHeads(); kvHead++) {
                for (int j = 0; j < shape.sequenceLength(); j++) {
                    Arrays.fill(keySums[j], 0);
                    Arrays.fill(valueSums[j], 0);
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
        double[] weight = weights.of(first, head, i);
        double mean = AttentionWeights.dot(shape, dOut, first + i, head, forward.out(), first + i, head);
        double[] sum = new double[shape.headDim()];
        for (int j = weights.firstSeen(i); j <= i; j++) {
            double ofWeight = AttentionWeights.dot(shape, dOut, first + i, head, forward.v(), first + j, kvHead);
            double slopeOfScore = weight[j] * (ofWeight - mean) * shape.scale();
            for (int d = 0; d < shape.headDim(); d++) {
                sum[d] += slopeOfScore * Elements.get(forward.k(), first + j, column(kvHead, d));
                keySums[j][d] += slopeOfScore * Elements.get(forward.q(), first + i, column(head, d));
                valueSums[j][d] += weight[j] * Elements.get(dOut, first + i, column(head, d));
            }
        }
        for (int d = 0; d < shape.headDim(); d++) {
            Elements.set(dq, first + i, column(head, d), sum[d]);
        }
    }

    private long column(int head, int d) {
        return AttentionWeights.column(shape, head, d);
    }
}
