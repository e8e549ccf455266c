package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.family.RowOrder;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/**
 * The tensors of a block that conversion changes, with the names and dtypes of the source.
 *
 * @param spec of the source
 */
record BlockTensors(ModelSpec spec, ModelDirectory source) {

    /** Weights of a block's linears, and their biases. */
    record Values(AttentionMatrices attention, @Nullable Matrix down, @Nullable Matrix downBias) {}

    /** Rounds the weights of a block as stored. */
    AttentionMatrices rounded(int block, AttentionMatrices weights) {
        SequencedMap<String, Matrix> rounded = new LinkedHashMap<>();
        named(block, new Values(weights, null, null))
                .forEach((name, matrix) -> rounded.put(name, StoredMatrices.rounded(name, matrix, dtype(name))));
        return read(block, weights.kvHeads(), rounded).attention();
    }

    /** Rounds the down projection's weight, or its bias, which is one row. */
    Matrix roundedDown(int block, Matrix matrix) {
        String name = matrix.rows() == 1 ? down(block).biasTensor() : down(block).weightTensor();
        return StoredMatrices.rounded(name, matrix, dtype(name));
    }

    DType dtype(String name) {
        return source.tensor(name).dtype();
    }

    /** The linears of attention, and the one after the MLP's activation. */
    private List<LinearSpec> changed(int block) {
        return spec.linears(block).stream()
                .filter(linear -> !linear.site().ofMlp() || linear.projection() == Projection.DOWN).toList();
    }

    private LinearSpec down(int block) {
        return spec.block(block).linear(Projection.DOWN);
    }

    /** By name, in the order of the forward pass: biases are rows. */
    SequencedMap<String, Matrix> named(int block, Values values) {
        SequencedMap<String, Matrix> named = new LinkedHashMap<>();
        AttentionMatrices a = values.attention();
        for (LinearSpec linear : changed(block)) {
            switch (linear.projection()) {
                case QUERY -> put(linear, a.query(), a.queryBias(), named);
                case KEY -> put(linear, a.key(), a.keyBias(), named);
                case VALUE -> put(linear, a.value(), a.valueBias(), named);
                case QUERY_KEY_VALUE -> {
                    int[] inParts = order(linear, a.kvHeads()).inParts();
                    Matrix bias = joined(a);
                    put(linear, rows(Matrix.stack(List.of(a.query(), a.key(), a.value())), inParts),
                            bias == null ? null : columns(bias, inParts), named);
                }
                case ATTENTION_OUTPUT -> put(linear, a.output(), a.outputBias(), named);
                case DOWN -> {
                    if (values.down() != null) {
                        put(linear, values.down(), values.downBias(), named);
                    }
                }
                default -> throw new IllegalArgumentException(linear.toString());
            }
        }
        Matrix keyNorm = a.keyNorm();
        if (keyNorm != null) {
            keyNorm(block, a.kvHeads()).forEach(stored -> named.put(stored.tensor(),
                    keyNorm.columns(stored.first(), stored.columns())));
        }
        return named;
    }

    /** The tensors of a norm that tells key heads apart, of so many heads; none where there is no such norm. */
    private List<NormSpec.Stored> keyNorm(int block, int kvHeads) {
        NormSpec norm = spec.block(block).norm(NormSlot.KEY);
        return norm == null || !norm.tellsGroupsApart()
                ? List.of()
                : norm.withWidth(kvHeads * HeadPlan.attention(spec).headDim()).stored();
    }

    /** How fused rows lie on disk, with so many key-value heads: part after part, or each of these heads after its queries. */
    private RowOrder order(LinearSpec linear, int kvHeads) {
        Mixer.Attention form = HeadPlan.attention(spec);
        int kvWidth = kvHeads * form.headDim();
        return new RowOrder(linear.view().rows().isConcatenated() ? 1 : kvHeads,
                List.of(form.queryWidth(), kvWidth, kvWidth));
    }

    private static Matrix rows(Matrix matrix, int[] order) {
        return Matrix.generate(matrix.rows(), matrix.columns(), (i, j) -> matrix.at(order[i], j));
    }

    private static Matrix columns(Matrix row, int[] order) {
        return Matrix.generate(1, row.columns(), (i, j) -> row.at(0, order[j]));
    }

    private static @Nullable Matrix joined(AttentionMatrices a) {
        if (a.queryBias() == null || a.keyBias() == null || a.valueBias() == null) {
            return null;
        }
        return Matrix.stack(
                List.of(a.queryBias().transposed(), a.keyBias().transposed(), a.valueBias().transposed()))
                .transposed();
    }

    private static void put(LinearSpec linear, Matrix weight, @Nullable Matrix bias, Map<String, Matrix> named) {
        named.put(linear.weightTensor(), weight);
        if (bias != null) {
            named.put(linear.biasTensor(), bias);
        }
    }

    /** The inverse of named. */
    Values read(int block, int kvHeads, Map<String, Matrix> named) {
        int d = HeadPlan.attention(spec).headDim();
        int queryWidth = HeadPlan.attention(spec).queryWidth();
        int kvWidth = kvHeads * d;
        Parts parts = new Parts();
        for (LinearSpec linear : changed(block)) {
            Matrix weight = named.get(linear.weightTensor());
            if (weight == null) {
                continue;
            }
            Matrix bias = named.get(linear.biasTensor());
            switch (linear.projection()) {
                case QUERY -> parts.query = new Part(weight, bias);
                case KEY -> parts.key = new Part(weight, bias);
                case VALUE -> parts.value = new Part(weight, bias);
                case QUERY_KEY_VALUE -> {
                    int[] onDisk = order(linear, kvHeads).onDisk();
                    Part all = new Part(rows(weight, onDisk), bias == null ? null : columns(bias, onDisk));
                    parts.query = all.rows(0, queryWidth);
                    parts.key = all.rows(queryWidth, kvWidth);
                    parts.value = all.rows(queryWidth + kvWidth, kvWidth);
                }
                case ATTENTION_OUTPUT -> parts.output = new Part(weight, bias);
                case DOWN -> parts.down = new Part(weight, bias);
                default -> throw new IllegalArgumentException(linear.toString());
            }
        }
        Values values = parts.values(d);
        List<Matrix> keyNorm = new ArrayList<>();
        for (NormSpec.Stored stored : keyNorm(block, kvHeads)) {
            Matrix part = named.get(stored.tensor());
            if (part != null) {
                keyNorm.add(part.transposed());
            }
        }
        return keyNorm.isEmpty()
                ? values
                : new Values(values.attention.withKeyNorm(Matrix.stack(keyNorm).transposed()), values.down,
                        values.downBias);
    }

    /** A linear's weight, and its bias as a row. */
    private record Part(Matrix weight, @Nullable Matrix bias) {
        private Part rows(int from, int count) {
            return new Part(weight.rows(from, count), bias == null ? null : bias.columns(from, count));
        }
    }

    private static final class Parts {
        private @Nullable Part query;
        private @Nullable Part key;
        private @Nullable Part value;
        private @Nullable Part output;
        private @Nullable Part down;

        private Values values(int headDim) {
            Part q = Objects.requireNonNull(query);
            Part k = Objects.requireNonNull(key);
            Part v = Objects.requireNonNull(value);
            Part o = Objects.requireNonNull(output);
            return new Values(
                    new AttentionMatrices(headDim, q.weight, q.bias, k.weight, k.bias, v.weight, v.bias, o.weight,
                            o.bias),
                    down == null ? null : down.weight, down == null ? null : down.bias);
        }
    }

    /** Specs of a block's changed tensors. */
    List<TensorSpec> specs(SequencedMap<String, Matrix> named) {
        return named.entrySet().stream().map(entry -> {
            TensorView view = source.tensor(entry.getKey());
            Shape shape = view.shape().rank() == 1
                    ? Shape.of(entry.getValue().columns())
                    : Shape.of(entry.getValue().rows(), entry.getValue().columns());
            return new TensorSpec(entry.getKey(), view.dtype(), shape);
        }).toList();
    }
}
