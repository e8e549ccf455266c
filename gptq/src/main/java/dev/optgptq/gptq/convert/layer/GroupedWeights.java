package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.calibrate.model.HeadNorms;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import org.jspecify.annotations.Nullable;

/** Attention weights between host and device. */
record GroupedWeights(HostCopies copies) {

    /** Copies those of an attention to the host, with the weights of a norm that tells key heads apart. */
    AttentionMatrices download(LayerAttention attention) {
        NormWeights norm = attention.norms().key();
        AttentionMatrices weights = download(attention.parts(), attention.headDim());
        return norm == null || !norm.spec().tellsGroupsApart()
                ? weights
                : weights.withKeyNorm(copies.download(norm.weight()));
    }

    /** Copies them to the host. */
    AttentionMatrices download(AttentionParts parts, int headDim) {
        return new AttentionMatrices(headDim, copies.download(parts.query()), download(parts.queryBias()),
                copies.download(parts.key()), download(parts.keyBias()), copies.download(parts.value()),
                download(parts.valueBias()), copies.download(parts.output()), download(parts.outputBias()));
    }

    private @Nullable Matrix download(@Nullable Tensor bias) {
        return bias == null ? null : copies.download(bias);
    }

    /** Copies them to the device; the arena owns them. */
    AttentionParts upload(AttentionMatrices weights, TensorArena arena) {
        return new AttentionParts(copies.upload(weights.query(), arena), upload(weights.queryBias(), arena),
                copies.upload(weights.key(), arena), upload(weights.keyBias(), arena),
                copies.upload(weights.value(), arena), upload(weights.valueBias(), arena),
                copies.upload(weights.output(), arena), upload(weights.outputBias(), arena));
    }

    private @Nullable Tensor upload(@Nullable Matrix bias, TensorArena arena) {
        return bias == null ? null : copies.upload(bias, arena);
    }

    /** These weights with the queries and keys of others on the device. */
    AttentionMatrices withScores(AttentionMatrices weights, AttentionParts parts) {
        return weights.withScores(copies.download(parts.query()), download(parts.queryBias()),
                copies.download(parts.key()), download(parts.keyBias()));
    }

    /** Writes them in the place of weights with more key-value heads, each shared one as often as it is shared. */
    void expand(AttentionMatrices weights, AttentionParts into) {
        copies.upload(weights.query(), into.query());
        write(weights.queryBias(), into.queryBias());
        writeRepeated(weights.key(), weights, into.key());
        writeRepeatedBias(weights.keyBias(), weights, into.keyBias());
        writeRepeated(weights.value(), weights, into.value());
        writeRepeatedBias(weights.valueBias(), weights, into.valueBias());
        copies.upload(weights.output(), into.output());
        write(weights.outputBias(), into.outputBias());
    }

    private void write(@Nullable Matrix bias, @Nullable Tensor into) {
        if (bias != null && into != null) {
            copies.upload(bias, into);
        }
    }

    private void writeRepeated(Matrix heads, AttentionMatrices weights, Tensor into) {
        Device device = copies.device();
        int d = weights.headDim();
        int kvHeads = Math.toIntExact(into.rows() / d);
        try (TensorArena scratch = device.arena()) {
            Tensor shared = copies.upload(heads, scratch);
            for (int head = 0; head < kvHeads; head++) {
                long from = (long) head / (kvHeads / weights.kvHeads()) * d;
                device.neural().convert(shared.rows(from, d), into.rows((long) head * d, d));
            }
            device.synchronize();
        }
    }

    private void writeRepeatedBias(@Nullable Matrix bias, AttentionMatrices weights, @Nullable Tensor into) {
        if (bias != null && into != null) {
            int d = weights.headDim();
            int kvHeads = Math.toIntExact(into.columns() / d);
            int sharing = kvHeads / weights.kvHeads();
            copies.upload(
                    Matrix.generate(1, kvHeads * d, (row, column) -> bias.at(0, column / d / sharing * d + column % d)),
                    into);
        }
    }

    /** The shape of attention with these weights. */
    static AttentionShape shape(AttentionShape source, AttentionMatrices weights) {
        return new AttentionShape(source.sequenceLength(), source.heads(), weights.kvHeads(), source.headDim(),
                source.valueDim(), source.scale(), source.softcap(), source.window());
    }

    /** The attention of these weights; the arena owns them. */
    LayerAttention attention(LayerAttention source, AttentionMatrices weights, TensorArena arena) {
        Device device = source.device();
        return new LayerAttention(device, shape(source.shape(), weights), source.positions(), upload(weights, arena),
                norms(source.norms(), weights, arena));
    }

    private HeadNorms norms(HeadNorms source, AttentionMatrices weights, TensorArena arena) {
        NormWeights key = source.key();
        Matrix own = weights.keyNorm();
        if (key == null || own == null) {
            return source;
        }
        return new HeadNorms(source.query(),
                new NormWeights(key.spec().withWidth(own.columns()), copies.upload(own, arena), null, null));
    }

    /** Writes the weights of a norm that tells key heads apart in the place of one of more heads. */
    void expandKeyNorm(AttentionMatrices weights, @Nullable NormWeights into) {
        if (into != null) {
            writeRepeatedBias(weights.keyNorm(), weights, into.weight());
        }
    }
}
