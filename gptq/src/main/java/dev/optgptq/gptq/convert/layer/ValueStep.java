package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.DeviceAlgebra;
import dev.optgptq.gptq.convert.fit.Fit;
import dev.optgptq.gptq.convert.fit.LinearMoments;
import dev.optgptq.gptq.convert.fit.SharedValueFit;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Fits shared values and the output projection to the original layer's output plus the residual stream's error so far,
 * so that the converted stream approaches the original's.
 */
record ValueStep(LayerSource source, Dense dense, OutputJoin join) {

    ValueStep(LayerSource source, Dense dense) {
        this(source, dense, OutputJoin.of(source, NormSlot.AFTER_ATTENTION));
    }

    /** The solution. */
    record Result(AttentionMatrices weights, Fit fit) {}

    /**
     * Fits them.
     *
     * @param attention the converted one, whose queries and keys stay
     * @param original the original weights, from whose values the shared ones are formed
     * @param merge the initial solution; its queries and keys are ignored
     * @param scores the queries and keys of attention
     */
    Result fit(LayerAttention attention, AttentionMatrices original, LayerMerge merge, AttentionMatrices scores) {
        Sequences sequences = source.sequences();
        Device device = source.device();
        HostCopies copies = new HostCopies(device);
        try (TensorArena arena = device.arena()) {
            Tensor bias = keptBias(merge, copies, arena);
            LinearMoments train = moments(attention, bias, sequences.summed(), arena);
            LinearMoments heldOut = moments(attention, bias, sequences.heldOut(), arena);
            // Behind a norm a bias is no constant of what joins; there it stays.
            Matrix outputBias = join.isNormed() ? null : merge.weights().outputBias();
            SharedValueFit.Values start = new SharedValueFit.Values(
                    copies.uploadDoubles(Matrix.stack(merge.values()), arena),
                    copies.uploadDoubles(join.joined(merge.weights().outputRows()), arena),
                    outputBias == null ? null : copies.uploadDoubles(join.joined(outputBias), arena));
            SharedValueFit.Result found = new SharedValueFit(new DeviceAlgebra(device), scores.heads(),
                    scores.kvHeads()).refit(train, heldOut, start, arena);
            return found.fit().kept()
                    ? new Result(shared(found.values(), original, merge.weights(), scores, copies), found.fit())
                    : new Result(scores, found.fit());
        }
    }

    private AttentionMatrices shared(SharedValueFit.Values found, AttentionMatrices original, AttentionMatrices merged,
            AttentionMatrices scores, HostCopies copies) {
        Matrix shares = copies.downloadDoubles(found.shares());
        int groups = scores.kvHeads();
        int stacked = shares.columns();
        int d = shares.rows() / groups;
        List<Matrix> values = dense.each(groups, group -> dense.multiply(shares.rows(group * d, d),
                original.value().rows(group * stacked, stacked)));
        Matrix valueBias = original.valueBias();
        Matrix sharedBias = valueBias == null
                ? null
                : Matrix.stack(dense.each(groups, group -> dense.multiply(shares.rows(group * d, d),
                        valueBias.columns(group * stacked, stacked).transposed()))).transposed();
        Tensor bias = found.bias();
        Matrix mergedBias = merged.outputBias();
        return scores.withValues(Matrix.stack(values), sharedBias,
                join.apart(copies.downloadDoubles(found.output()), merged.outputRows()),
                bias == null || mergedBias == null ? mergedBias : join.apart(copies.downloadDoubles(bias), mergedBias));
    }

    /** The output projection's bias as it joins, F32 [1, hidden], where it stays; else null. */
    private @Nullable Tensor keptBias(LayerMerge merge, HostCopies copies, TensorArena arena) {
        Matrix bias = merge.weights().outputBias();
        return bias == null || !join.isNormed() ? null : copies.upload(join.joined(bias), arena);
    }

    /**
     * @param keptBias null where there is none
     * @param owner of the moments
     */
    private LinearMoments moments(LayerAttention attention, @Nullable Tensor keptBias, int[] which,
            TensorArena owner) {
        Device device = attention.device();
        Sequences sequences = source.sequences();
        LayerAttention original = source.attention();
        int members = original.shape().kvHeads() / attention.shape().kvHeads();
        long width = (long) original.shape().heads() * members * original.headDim();
        try (TensorArena arena = device.arena()) {
            LinearSum sum = new LinearSum(device, arena, owner, width, source.hidden());
            Tensor ofOriginal = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            Tensor ofConverted = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            sequences.each(which, (at, batch) -> {
                try (TensorArena scratch = device.arena()) {
                    Tensor before = sequences.read(device, sequences.original(), batch, ofOriginal);
                    Tensor after = sequences.read(device, sequences.converted(), batch, ofConverted);
                    Tensor x = scratch.matrix(DType.F32, after.rows(), source.hidden());
                    source.original().normed(after, x);
                    Tensor u = averages(attention, x, scratch);
                    sum.add(u, target(before, after, u, keptBias, scratch));
                    device.synchronize();
                }
            });
            return sum.finish();
        }
    }

    /**
     * The target addend of the converted stream: original + what the original's attention adds - converted.
     *
     * @param averages which this is to be made of; behind a norm its tokens get their factors
     */
    private Tensor target(Tensor original, Tensor converted, Tensor averages, @Nullable Tensor keptBias,
            TensorArena scratch) {
        LayerAttention attention = source.attention();
        Device device = attention.device();
        long n = original.rows();
        Tensor x = scratch.matrix(DType.F32, n, source.hidden());
        source.original().normed(original, x);
        LayerAttention.Projected p = LayerAttention.Projected.allocate(scratch, attention.shape(), n);
        Tensor attended = scratch.matrix(DType.F32, n, p.queries().columns());
        attention.project(x, p);
        attention.attend(p, attended);
        Tensor target = scratch.matrix(DType.F32, n, source.hidden());
        device.matrix().subtract(original, converted, target);
        if (join.isPlain()) {
            attention.output(attended, 1, target);
            return target;
        }
        Tensor output = scratch.matrix(DType.F32, n, source.hidden());
        attention.output(attended, 0, output);
        join.add(output, target);
        if (join.isNormed()) {
            join.weigh(averages, join.lessBias(output, keptBias, target, scratch));
        }
        return target;
    }

    /** [N, heads r headDim]: per query head, the original's values of its group, averaged by the converted attention. */
    private Tensor averages(LayerAttention attention, Tensor x, TensorArena scratch) {
        Device device = attention.device();
        int d = attention.headDim();
        int groups = attention.shape().kvHeads();
        int heads = attention.shape().heads();
        int members = source.attention().shape().kvHeads() / groups;
        LayerAttention.Projected p = LayerAttention.Projected.allocate(scratch, attention.shape(), x.rows());
        attention.queries(x, p.queries());
        attention.keys(x, p.keys());
        Tensor values = scratch.matrix(DType.F32, x.rows(), (long) groups * members * d);
        device.matrix().linear(x, source.attention().parts().value(), source.attention().parts().valueBias(), 0,
                values);
        Tensor averages = scratch.matrix(DType.F32, x.rows(), (long) heads * members * d);
        Tensor out = scratch.matrix(DType.F32, x.rows(), (long) heads * d);
        for (int member = 0; member < members; member++) {
            for (int group = 0; group < groups; group++) {
                device.matrix().copy(values.columns(((long) group * members + member) * d, d),
                        p.values().columns((long) group * d, d));
            }
            attention.attend(p, out);
            for (int head = 0; head < heads; head++) {
                device.matrix().copy(out.columns((long) head * d, d),
                        averages.columns(((long) head * members + member) * d, d));
            }
        }
        return averages;
    }
}
