package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.GroupMoments;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * Accumulates the moments of a layer's heads, group by group of neighbouring key-value heads, over batches of tokens.
 * No attention matrix is formed: averages under attention are attention over other values, and the total attention that
 * a key receives is the gradient of attention for the values when that for its output is 1.
 */
final class HeadStatistics implements AutoCloseable {

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
        return new MomentSum(device, arena, rows, columns);
    }

    /** Adds a batch: x F32 [N, hidden], the block's normed input. */
    void add(Tensor x) {
        long n = x.rows();
        try (TensorArena scratch = device.arena()) {
            LayerAttention.Projected p = LayerAttention.Projected.allocate(scratch, attention.shape(), n);
            attention.project(x, p);
            addOwn(p);
            Tensor centred = centred(p.keys(), scratch);
            Tensor received = received(p, scratch);
            Tensor keyAverages = averages(p, centred, scratch);
            addSpread(centred, received, keyAverages, attendedKeys.partial(), scratch);
            Tensor valueAverages = averages(p, p.values(), scratch);
            addAverages(valueAverages);
            addOwnSpread(p.values(), received, valueAverages, scratch);
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

    /** [heads headDim, N]: in row head * headDim, the attention of the head that each key receives from all queries. */
    private Tensor received(LayerAttention.Projected p, TensorArena scratch) {
        long n = p.queries().rows();
        long width = p.queries().columns();
        // With as many key-value heads as query heads no head's sums mix with another's.
        LayerAttention.Projected wide = new LayerAttention.Projected(p.queries(), perQueryHead(p.keys(), -1, scratch),
                perQueryHead(p.values(), -1, scratch));
        AttentionShape own = attention.unshared();
        Tensor out = scratch.matrix(DType.F32, n, width);
        Tensor ones = scratch.matrix(DType.F32, n, width);
        Tensor dQueries = scratch.matrix(DType.F32, n, width);
        Tensor dKeys = scratch.matrix(DType.F32, n, width);
        Tensor dValues = scratch.matrix(DType.F32, n, width);
        device.neural().attention(wide.queries(), wide.keys(), wide.values(), attention.slopes(), own, out);
        device.matrix().fill(ones, 1);
        device.gradient().attentionGradient(
                new Attended(wide.queries(), wide.keys(), wide.values(), attention.slopes(), own, out), ones, dQueries,
                dKeys, dValues);
        Tensor received = scratch.matrix(DType.F32, width, n);
        device.matrix().transpose(dValues, received);
        return received;
    }

    /**
     * [N, heads headDim]: for each query head, a key-value head of its group.
     *
     * @param member which; -1 for its own
     */
    private Tensor perQueryHead(Tensor all, int member, TensorArena scratch) {
        Tensor spread = scratch.matrix(DType.F32, all.rows(), (long) heads * headDim);
        for (int head = 0; head < heads; head++) {
            int from = group(head) * members + (member < 0 ? own(head) : member);
            device.matrix().copy(all.columns((long) from * headDim, headDim),
                    spread.columns((long) head * headDim, headDim));
        }
        return spread;
    }

    /** [N, heads r headDim]: for each query head, its attention's averages of all its group's members. */
    private Tensor averages(LayerAttention.Projected p, Tensor of, TensorArena scratch) {
        Tensor averages = scratch.matrix(DType.F32, of.rows(), (long) heads * stacked());
        AttentionShape own = attention.unshared();
        try (TensorArena inner = device.arena()) {
            Tensor keysOfHeads = perQueryHead(p.keys(), -1, inner);
            Tensor out = inner.matrix(DType.F32, of.rows(), (long) heads * headDim);
            for (int member = 0; member < members; member++) {
                device.neural().attention(p.queries(), keysOfHeads, perQueryHead(of, member, inner),
                        attention.slopes(), own, out);
                for (int head = 0; head < heads; head++) {
                    device.matrix().copy(out.columns((long) head * headDim, headDim),
                            averages.columns((long) head * stacked() + (long) member * headDim, headDim));
                }
            }
            device.synchronize();
        }
        return averages;
    }

    /** sum_t Cov_{P_t} = sum_u a_u z_u z_u^T - sum_t y_t y_t^T, a_u the attention that u receives, y_t = E_{P_t}(z). */
    private void addSpread(Tensor all, Tensor received, Tensor averages, Tensor into, TensorArena scratch) {
        Tensor scaled = scratch.matrix(DType.F32, all.rows(), stacked());
        for (int head = 0; head < heads; head++) {
            Tensor members = all.columns((long) group(head) * stacked(), stacked());
            Tensor y = averages.columns((long) head * stacked(), stacked());
            Tensor target = into.rows((long) head * stacked(), stacked());
            device.gradient().scaleRows(members, received.rows((long) head * headDim, 1), scaled);
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
            Tensor v = values.columns((long) group(head) * stacked() + (long) own(head) * headDim, headDim);
            Tensor y = averages.columns((long) head * stacked() + (long) own(head) * headDim, headDim);
            Tensor target = spreads.partial().rows((long) head * headDim, headDim);
            device.gradient().scaleRows(v, received.rows((long) head * headDim, 1), scaled);
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
        Matrix q = queries.dividedBy(n);
        Matrix k = keys.dividedBy(n);
        Matrix kMean = keyMeans.dividedBy(n);
        Matrix f = attendedKeys.dividedBy(n);
        Matrix u = attendedValues.dividedBy(n);
        Matrix uMean = attendedMeans.dividedBy(n);
        Matrix w = spreads.dividedBy(n);
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
                Matrix o = output.columns(head * headDim, headDim);
                weights.add(Math.max(0, w.rows(head * headDim, headDim).dot(dense.transposedMultiply(o, o))));
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
