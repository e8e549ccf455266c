package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** The gradient through causal attention, one query of one head at a time. */
final class ReferenceAttentionGradient {

    private final Attended forward;
    private final AttentionShape shape;
    private final Tensor dOut;
    private final Tensor dq;
    private final Tensor dk;
    private final Tensor dv;
    private final @Nullable Tensor dSinks;
    private final AttentionWeights weights;
    /** Of one KV head of one sequence, [sequenceLength, headDim] and [sequenceLength, valueDim]. */
    private final double[][] keySums;
    private final double[][] valueSums;
    /** Of each head. */
    private final double[] sinkSums;

    ReferenceAttentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv,
            @Nullable Tensor dSinks) {
        this.forward = forward;
        this.shape = forward.shape();
        this.dOut = dOut;
        this.dq = dq;
        this.dk = dk;
        this.dv = dv;
        this.dSinks = dSinks;
        this.weights = new AttentionWeights(forward);
        this.keySums = new double[shape.sequenceLength()][shape.headDim()];
        this.valueSums = new double[shape.sequenceLength()][shape.valueDim()];
        this.sinkSums = new double[shape.heads()];
    }

    void run() {
        for (long first = 0; first < dOut.rows(); first += shape.sequenceLength()) {
            for (int kvHead = 0; kvHead < shape.kvHeads(); kvHead++) {
                for (int j = 0; j < shape.sequenceLength(); j++) {
                    Arrays.fill(keySums[j], 0);
                    Arrays.fill(valueSums[j], 0);
                }
                for (int head = kvHead * shape.group(); head < (kvHead + 1) * shape.group(); head++) {
                    for (int i = 0; i < shape.sequenceLength(); i++) {
                        query(first, head, kvHead, i);
                    }
                }
                for (int j = 0; j < shape.sequenceLength(); j++) {
                    write(keySums[j], dk, first + j, kvHead);
                    write(valueSums[j], dv, first + j, kvHead);
                }
            }
        }
        for (int head = 0; dSinks != null && head < shape.heads(); head++) {
            Elements.set(dSinks, 0, head, Elements.get(dSinks, 0, head) + sinkSums[head]);
        }
    }

    /** @param first row of the sequence's position 0 */
    private void query(long first, int head, int kvHead, int i) {
        int headDim = shape.headDim();
        int valueDim = shape.valueDim();
        double[] weight = weights.of(first, head, i);
        double mean = AttentionWeights.dot(valueDim, dOut, first + i, head, forward.out(), first + i, head);
        sinkSums[head] -= weights.sinkWeight() * mean;
        double[] sum = new double[headDim];
        for (int j = weights.firstSeen(i); j <= i; j++) {
            double ofWeight = AttentionWeights.dot(valueDim, dOut, first + i, head, forward.v(), first + j, kvHead);
            double slopeOfProduct = weight[j] * (ofWeight - mean) * weights.rises()[j] * shape.scale();
            for (int d = 0; d < headDim; d++) {
                sum[d] += slopeOfProduct * Elements.get(forward.k(), first + j, (long) kvHead * headDim + d);
                keySums[j][d] += slopeOfProduct * Elements.get(forward.q(), first + i, (long) head * headDim + d);
            }
            for (int d = 0; d < valueDim; d++) {
                valueSums[j][d] += weight[j] * Elements.get(dOut, first + i, (long) head * valueDim + d);
            }
        }
        write(sum, dq, first + i, head);
    }

    private static void write(double[] values, Tensor target, long row, int head) {
        for (int d = 0; d < values.length; d++) {
            Elements.set(target, row, (long) head * values.length + d, values[d]);
        }
    }
}
