package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.dense.Matrix;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one layer's attention on the host.
 *
 * @param headDim d
 * @param query [heads d, hidden]
 * @param queryBias [1, heads d], as the others null where there is none
 * @param key [kvHeads d, hidden], as is value
 * @param output [hidden, heads d]
 * @param keyNorm weights of a norm that tells key heads apart [1, kvHeads d]; null where there is none, or one weight for all heads
 */
public record AttentionMatrices(int headDim, Matrix query, @Nullable Matrix queryBias, Matrix key,
        @Nullable Matrix keyBias, Matrix value, @Nullable Matrix valueBias, Matrix output,
        @Nullable Matrix outputBias, @Nullable Matrix keyNorm) {

    /** Without a norm that tells key heads apart. */
    public AttentionMatrices(int headDim, Matrix query, @Nullable Matrix queryBias, Matrix key,
            @Nullable Matrix keyBias,
            Matrix value, @Nullable Matrix valueBias, Matrix output, @Nullable Matrix outputBias) {
        this(headDim, query, queryBias, key, keyBias, value, valueBias, output, outputBias, null);
    }

    public int heads() {
        return query.rows() / headDim;
    }

    public int kvHeads() {
        return key.rows() / headDim;
    }

    public int hidden() {
        return query.columns();
    }

    /** A query head's rows of the output projection: o_h [1, d] adds o_h O_h to the output, O_h [d, hidden]. */
    public Matrix outputOf(int head) {
        return output.columns(head * headDim, headDim).transposed();
    }

    /** The output projection, head under head: [heads d, hidden]. */
    public Matrix outputRows() {
        return output.transposed();
    }

    /**
     * The same attention with its key-value heads in another order, each with its query heads.
     *
     * @param order of the heads as they are, by their new places
     */
    public AttentionMatrices permuted(List<Integer> order) {
        int sharing = heads() / kvHeads();
        List<Integer> queries = order.stream()
                .flatMap(head -> IntStream.range(head * sharing, (head + 1) * sharing).boxed()).toList();
        return new AttentionMatrices(headDim, rows(query, queries), biases(queryBias, queries), rows(key, order),
                biases(keyBias, order), rows(value, order), biases(valueBias, order),
                rows(outputRows(), queries).transposed(), outputBias, biases(keyNorm, order));
    }

    private Matrix rows(Matrix heads, List<Integer> order) {
        return Matrix.stack(order.stream().map(head -> heads.rows(head * headDim, headDim)).toList());
    }

    private @Nullable Matrix biases(@Nullable Matrix bias, List<Integer> order) {
        return bias == null ? null : rows(bias.transposed(), order).transposed();
    }

    /** The same queries and keys with other values; output [heads d, hidden], head under head. */
    public AttentionMatrices withValues(Matrix newValue, @Nullable Matrix newValueBias, Matrix outputRows,
            @Nullable Matrix newOutputBias) {
        return new AttentionMatrices(headDim, query, queryBias, key, keyBias, newValue, newValueBias,
                outputRows.transposed(), newOutputBias, keyNorm);
    }

    /** The same values with other queries and keys. */
    public AttentionMatrices withScores(Matrix newQuery, @Nullable Matrix newQueryBias, Matrix newKey,
            @Nullable Matrix newKeyBias) {
        return new AttentionMatrices(headDim, newQuery, newQueryBias, newKey, newKeyBias, value, valueBias, output,
                outputBias, keyNorm);
    }

    /** The same with other weights of the norm that tells key heads apart. */
    public AttentionMatrices withKeyNorm(@Nullable Matrix weights) {
        return new AttentionMatrices(headDim, query, queryBias, key, keyBias, value, valueBias, output, outputBias,
                weights);
    }
}
