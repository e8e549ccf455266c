package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.GroupMoments;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * Accumulates the moments of a layer's heads, group by group of neighbouring key-value heads, over batches of tokens.
 * Attention is formed as matrices of some heads of one sequence: averages under it are then matmuls, and the attention that a key
 * receives in all is the sum of a column.
 */
final class HeadStatistics implements AutoCloseable {

    /** Memory limit of attention matrices. */
    private static final long WEIGHT_BYTES = 256L << 20;

    private final Device device;
    private final LayerAttention attention;
    private final int members;
    private final int heads;
    private final int headDim;
    /** Query heads of a group. */
    private final int sharing;
    private final TensorArena arena;
    private final MomentSum queries;
    private final MomentSum keys;
    private final MomentSum keyMeans;
    private final MomentSum attendedKeys;
    private final MomentSum attendedValues;
    private final MomentSum attendedMeans;
    private final MomentSum spreads;
    private long tokens;

    /** @param members r, key-value heads merged into one */
    HeadStatistics(LayerAttention attention, int members) {
        this.device = attention.device();
        this.attention = attention;
        this.members = members;
        this.heads = attention.shape().heads();
        this.headDim = attention.headDim();
        this.sharing = members * heads / attention.shape().kvHeads();
        this.arena = device.arena();
        long stacked = (long) members * headDim;
        long groups = attention.shape().kvHeads() / members;
        queries = sum((long) heads * headDim, headDim);
        keys = sum(groups * stacked, stacked);
        keyMeans = sum(1, groups * stacked);
        attendedKeys = sum(heads * stacked, stacked);
        attendedValues = sum(heads * stacked, stacked);
        attendedMeans = sum(1, heads * stacked);
        spreads = sum((long) heads * headDim, headDim);
    }

    private MomentSum sum(long rows, long columns) {
        return new MomentSum(device, arena, arena, rows, columns);
    }

    /** Adds a batch: x F32 [N, hidden], the block's normed input. */
    void add(Tensor x) {
        long n = x.rows();
        try (TensorArena scratch = device.arena()) {
            LayerAttention.Projected p = LayerAttention.Projected.allocate(scratch, attention.shape(), n);
            attention.project(x, p);
            addOwn(p);
            Tensor centred = centred(p.keys(), scratch);
            Averages averages = averages(p, centred, scratch);
            addSpread(centred, averages.received, averages.keys, attendedKeys.partial(), scratch);
            addAverages(averages.values);
            addOwnSpread(p.values(), averages.received, averages.values, scratch);
            device.synchronize();
        }
        tokens += n;
        for (MomentSum sum : List.of(queries, keys, keyMeans, attendedKeys, attendedValues, attendedMeans, spreads)) {
            sum.added(n);
        }
    }

    private int group(int head) {
        return head / sharing;
    }

    /** Where a query head's own key-value head stands in its group. */
    private int own(int head) {
        return head % sharing / (sharing / members);
    }

    private int stacked() {
        return members * headDim;
    }

    private void addOwn(LayerAttention.Projected p) {
        for (int head = 0; head < heads; head++) {
            Tensor q = p.queries().columns((long) head * headDim, headDim);
            device.matrix().gemm(1, q, true, q, false, 1,
                    queries.partial().rows((long) head * headDim, headDim));
        }
        for (int group = 0; group < attention.shape().kvHeads() / members; group++) {
            Tensor k = p.keys().columns((long) group * stacked(), stacked());
            device.matrix().gemm(1, k, true, k, false, 1, keys.partial().rows((long) group * stacked(), stacked()));
        }
        device.gradient().addRowsInto(p.keys(), keyMeans.partial());
    }

    /** Keys minus their mean: this changes no covariance, and float32 loses no digits to a large common part. */
    private Tensor centred(Tensor all, TensorArena scratch) {
        Tensor mean = scratch.vector(DType.F32, all.columns());
        Tensor negative = scratch.vector(DType.F32, all.columns());
        Tensor factor = scratch.vector(DType.F32, 1);
        Tensor centred = scratch.matrix(DType.F32, all.rows(), all.columns());
        device.matrix().fill(mean, 0);
        device.gradient().addRowsInto(all, mean);
        device.matrix().fill(factor, -1f / all.rows());
        device.gradient().scaleRows(mean, factor, negative);
        device.matrix().copy(all, centred);
        device.neural().addRow(centred, negative);
        return centred;
    }

    /**
     * What attention makes of a batch.
     *
     * @param received [heads, N]: the attention of a head that each key receives from all queries
     * @param keys [N, heads r headDim]: for each query head, its attention's averages of all its group's members
     * @param values the same of values
     */
    private record Averages(Tensor received, Tensor keys, Tensor values) {}

    /** By the attention of some heads of one sequence at a time, as matrices. */
    private Averages averages(LayerAttention.Projected p, Tensor centred, TensorArena scratch) {
        long n = p.queries().rows();
        long length = attention.shape().sequenceLength();
        Averages averages = new Averages(scratch.matrix(DType.F32, heads, n),
                scratch.matrix(DType.F32, n, (long) heads * stacked()),
                scratch.matrix(DType.F32, n, (long) heads * stacked()));
        device.matrix().fill(averages.received, 0);
        int together = Math.clamp(WEIGHT_BYTES / (length * length * Float.BYTES), 1, heads);
        try (TensorArena inner = device.arena()) {
            Tensor weights = inner.matrix(DType.F32, together * length, length);
            for (long row = 0; row < n; row += length) {
                for (int head = 0; head < heads; head += together) {
                    int count = Math.min(together, heads - head);
                    weights(p, row, head, weights.rows(0, count * length));
                    for (int i = 0; i < count; i++) {
                        average(weights.rows(i * length, length), row, head + i, centred, p.values(), averages);
                    }
                }
            }
            device.synchronize();
        }
        return averages;
    }

    /** The attention of heads from this one on, [length, length] each, one under the other. */
    private void weights(LayerAttention.Projected p, long row, int head, Tensor into) {
        long length = attention.shape().sequenceLength();
        int count = Math.toIntExact(into.rows() / length);
        for (int i = 0; i < count; i++) {
            Tensor q = p.queries().rows(row, length).columns((long) (head + i) * headDim, headDim);
            Tensor k = p.keys().rows(row, length).columns(ownColumn(head + i), headDim);
            device.matrix().gemm(1, q, false, k, true, 0, into.rows(i * length, length));
        }
        Tensor slopes = attention.slopes();
        float scale = attention.shape().scale();
        if (attention.shape().softcap() > 0) {
            device.neural().scale(into, scale);
            device.neural().softcap(into, attention.shape().softcap());
            scale = 1;
        }
        device.neural().causalSoftmax(into, scale,
                slopes == null ? null : slopes.columns(head, count), attention.shape().window());
    }

    private void average(Tensor weights, long row, int head, Tensor keysOfAll, Tensor valuesOfAll, Averages into) {
        long length = weights.rows();
        long from = (long) group(head) * stacked();
        long to = (long) head * stacked();
        device.gradient().addRowsInto(weights, into.received.rows(head, 1).columns(row, length));
        device.matrix().gemm(1, weights, false, keysOfAll.rows(row, length).columns(from, stacked()), false, 0,
                into.keys.rows(row, length).columns(to, stacked()));
        device.matrix().gemm(1, weights, false, valuesOfAll.rows(row, length).columns(from, stacked()), false, 0,
                into.values.rows(row, length).columns(to, stacked()));
    }

    /** Where a query head's own keys begin among those of all heads. */
    private long ownColumn(int head) {
        return (long) group(head) * stacked() + (long) own(head) * headDim;
    }

    /** sum_t Cov_{P_t} = sum_u a_u z_u z_u^T - sum_t y_t y_t^T, a_u the attention that u receives, y_t = E_{P_t}(z). */
    private void addSpread(Tensor all, Tensor received, Tensor averages, Tensor into, TensorArena scratch) {
        Tensor scaled = scratch.matrix(DType.F32, all.rows(), stacked());
        for (int head = 0; head < heads; head++) {
            Tensor members = all.columns((long) group(head) * stacked(), stacked());
            Tensor y = averages.columns((long) head * stacked(), stacked());
            Tensor target = into.rows((long) head * stacked(), stacked());
            device.gradient().scaleRows(members, received.rows(head, 1), scaled);
            device.matrix().gemm(1, scaled, true, members, false, 1, target);
            device.matrix().gemm(-1, y, true, y, false, 1, target);
        }
    }

    private void addAverages(Tensor averages) {
        for (int head = 0; head < heads; head++) {
            Tensor u = averages.columns((long) head * stacked(), stacked());
            device.matrix().gemm(1, u, true, u, false, 1,
                    attendedValues.partial().rows((long) head * stacked(), stacked()));
        }
        device.gradient().addRowsInto(averages, attendedMeans.partial());
    }

    /** The same as addSpread of each head's own values. */
    private void addOwnSpread(Tensor values, Tensor received, Tensor averages, TensorArena scratch) {
        Tensor scaled = scratch.matrix(DType.F32, values.rows(), headDim);
        for (int head = 0; head < heads; head++) {
            Tensor v = values.columns(ownColumn(head), headDim);
            Tensor y = averages.columns((long) head * stacked() + (long) own(head) * headDim, headDim);
            Tensor target = spreads.partial().rows((long) head * headDim, headDim);
            device.gradient().scaleRows(v, received.rows(head, 1), scaled);
            device.matrix().gemm(1, scaled, true, v, false, 1, target);
            device.matrix().gemm(-1, y, true, y, false, 1, target);
        }
    }

    /**
     * The means, one per group.
     *
     * @param output the output projection [hidden, heads headDim]
     */
    List<GroupMoments> finish(Matrix output, Dense dense) {
        double n = tokens;
        Matrix q = queries.matrixDividedBy(n);
        Matrix k = keys.matrixDividedBy(n);
        Matrix kMean = keyMeans.matrixDividedBy(n);
        Matrix f = attendedKeys.matrixDividedBy(n);
        Matrix u = attendedValues.matrixDividedBy(n);
        Matrix uMean = attendedMeans.matrixDividedBy(n);
        Matrix w = spreads.matrixDividedBy(n);
        List<Matrix> squares = dense.each(heads, head -> {
            Matrix o = output.columns(head * headDim, headDim);
            return dense.transposedMultiply(o, o);
        });
        List<GroupMoments> groups = new ArrayList<>();
        for (int group = 0; group < attention.shape().kvHeads() / members; group++) {
            List<Matrix> ofQueries = new ArrayList<>();
            List<Matrix> ofKeys = new ArrayList<>();
            List<Matrix> ofValues = new ArrayList<>();
            List<Matrix> means = new ArrayList<>();
            List<Double> weights = new ArrayList<>();
            for (int head = group * sharing; head < (group + 1) * sharing; head++) {
                ofQueries.add(q.rows(head * headDim, headDim).symmetrized());
                ofKeys.add(f.rows(head * stacked(), stacked()).symmetrized());
                ofValues.add(u.rows(head * stacked(), stacked()).symmetrized());
                means.add(uMean.columns(head * stacked(), stacked()));
                weights.add(Math.max(0, w.rows(head * headDim, headDim).dot(squares.get(head))));
            }
            groups.add(new GroupMoments(members, ofQueries, k.rows(group * stacked(), stacked()).symmetrized(),
                    kMean.columns(group * stacked(), stacked()), ofKeys, ofValues, means, weights));
        }
        return groups;
    }

    @Override
    public void close() {
        arena.close();
    }
}
