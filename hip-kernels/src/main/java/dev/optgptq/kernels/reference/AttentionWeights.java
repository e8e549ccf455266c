package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;

/** softmax(q k^T scale + bias) over the keys that one query sees: the start of attention and its gradient. */
final class AttentionWeights {

    private final Attended attended;
    private final AttentionShape shape;
    /** Of one query over the keys of its sequence. */
    private final double[] weights;
    /** The derivatives of its scores by the scaled dot products: 1 where they are not capped. */
    private final double[] rises;
    private double sinkWeight;

    AttentionWeights(Attended attended) {
        this.attended = attended;
        this.shape = attended.shape();
        this.weights = new double[shape.sequenceLength()];
        this.rises = new double[shape.sequenceLength()];
    }

    /** The first position that the query at position i sees; i is the last. */
    int firstSeen(int i) {
        return shape.window() == 0 ? 0 : Math.max(0, i - shape.window() + 1);
    }

    /**
     * The weights at positions [firstSeen(i), i] of the sequence; overwritten by the next call, as is what goes with them.
     *
     * @param first row of the sequence's position 0
     */
    double[] of(long first, int head, int i) {
        int from = firstSeen(i);
        int kvHead = head / shape.group();
        Tensor slopes = attended.slopes();
        double slope = slopes == null ? 0 : Elements.get(slopes, 0, head);
        for (int j = from; j <= i; j++) {
            double score = shape.scale()
                    * dot(shape.headDim(), attended.q(), first + i, head, attended.k(), first + j, kvHead);
            double share = shape.softcap() == 0 ? 0 : Math.tanh(score / shape.softcap());
            rises[j] = 1 - share * share;
            weights[j] = (shape.softcap() == 0 ? score : shape.softcap() * share) + slope * (j - i);
        }
        Tensor sinks = attended.sinks();
        softmax(from, i + 1, sinks == null ? Double.NEGATIVE_INFINITY : Elements.get(sinks, 0, head));
        return weights;
    }

    /** With the weights given last, the derivatives of their scores by the scaled dot products. */
    double[] rises() {
        return rises;
    }

    /** With the weights given last, that of the sink; 0 where there is none. */
    double sinkWeight() {
        return sinkWeight;
    }

    /** The dot product of two heads' vectors. */
    static double dot(int elements, Tensor a, long rowOfA, int headOfA, Tensor b, long rowOfB, int headOfB) {
        double sum = 0;
        for (int d = 0; d < elements; d++) {
            sum += Elements.get(a, rowOfA, (long) headOfA * elements + d)
                    * Elements.get(b, rowOfB, (long) headOfB * elements + d);
        }
        return sum;
    }

    /** weights[from, to) = exp(w - max w) / sum exp(w - max w), the sink among them. */
    private void softmax(int from, int to, double sink) {
        double max = sink;
        for (int j = from; j < to; j++) {
            max = Math.max(max, weights[j]);
        }
        sinkWeight = Math.exp(sink - max);
        double sum = sinkWeight;
        for (int j = from; j < to; j++) {
            weights[j] = Math.exp(weights[j] - max);
            sum += weights[j];
        }
        for (int j = from; j < to; j++) {
            weights[j] /= sum;
        }
        sinkWeight /= sum;
    }
}
