package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import org.jspecify.annotations.Nullable;

/** Attention over pages, one query of one head at a time. */
final class ReferencePagedAttention {

    private final Tensor q;
    private final ReferencePages keys;
    private final ReferencePages values;
    private final CacheRows rows;
    private final @Nullable Tensor slopes;
    private final @Nullable Tensor sinks;
    private final CacheShape shape;
    private final Tensor out;

    ReferencePagedAttention(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        this.q = q;
        this.keys = ReferencePages.keys(pages);
        this.values = ReferencePages.values(pages);
        this.rows = rows;
        this.slopes = slopes;
        this.sinks = sinks;
        this.shape = shape;
        this.out = out;
    }

    void sequence(int sequence) {
        int end = Elements.getInt(rows.starts(), 0, sequence + 1);
        for (int row = Elements.getInt(rows.starts(), 0, sequence); row < end; row++) {
            int position = Elements.getInt(rows.lengths(), 0, sequence) - (end - row);
            for (int head = 0; head < shape.heads(); head++) {
                query(sequence, row, position, head);
            }
        }
    }

    private void query(int sequence, int row, int i, int head) {
        int first = shape.window() == 0 ? 0 : Math.max(0, i - shape.window() + 1);
        double slope = slopes == null ? 0 : Elements.get(slopes, 0, head);
        double[] weights = new double[i + 1 - first];
        double sink = sinks == null ? Double.NEGATIVE_INFINITY : Elements.get(sinks, 0, head);
        double most = sink;
        for (int j = first; j <= i; j++) {
            weights[j - first] = capped(product(sequence, row, j, head) * shape.scale()) + slope * (j - i);
            most = Math.max(most, weights[j - first]);
        }
        double total = Math.exp(sink - most);
        for (int j = 0; j < weights.length; j++) {
            weights[j] = Math.exp(weights[j] - most);
            total += weights[j];
        }
        for (int d = 0; d < shape.headDim(); d++) {
            double sum = 0;
            for (int j = first; j <= i; j++) {
                sum += weights[j - first] / total * values.get(page(sequence, j), head / shape.group(),
                        j % CachePages.TOKENS, d);
            }
            Elements.set(out, row, column(head, d), sum);
        }
    }

    private double capped(double score) {
        return shape.softcap() == 0 ? score : shape.softcap() * Math.tanh(score / shape.softcap());
    }

    private double product(int sequence, int row, int j, int head) {
        double sum = 0;
        for (int d = 0; d < shape.headDim(); d++) {
            sum += Elements.get(q, row, column(head, d))
                    * keys.get(page(sequence, j), head / shape.group(), j % CachePages.TOKENS, d);
        }
        return sum;
    }

    private int page(int sequence, int j) {
        return Elements.getInt(rows.table(), sequence, j / CachePages.TOKENS);
    }

    /** Where a head's element lies in a row. */
    private long column(int head, int d) {
        return (long) head * shape.headDim() + d;
    }
}
