package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import org.jspecify.annotations.Nullable;

/**
 * The gradient through attention by the three passes of attention_gradient.hip. Where query heads share a KV head, each has
 * its own dk and dv, which are summed afterwards in order: all of them then run at once, and nothing is added up by
 * atomics.
 */
final class GpuAttentionGradient {

    private static final int THREADS = 256;
    /** Queries, or keys, of a block. */
    private static final int TILE = 64;
    /** Numbers that are kept of the softmax of a query. */
    private static final long ROW_NUMBERS = 3;

    private final GpuContext context;

    GpuAttentionGradient(GpuContext context) {
        this.context = context;
    }

    void run(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv, @Nullable Tensor dSinks) {
        AttentionShape shape = forward.shape();
        int width = GpuAttention.width(Math.max(shape.headDim(), shape.valueDim()));
        try (TensorArena arena = context.arena()) {
            Tensor rows = arena.matrix(DType.F32, ROW_NUMBERS * shape.heads(), dq.rows());
            softmaxRows(forward, dOut, rows);
            if (shape.heads() == shape.kvHeads()) {
                ofTiles("gradient_of_keys" + width, forward, dOut, rows, dk, dv);
            } else {
                Tensor keysByHead = arena.matrix(DType.F32, dq.rows(), dq.columns());
                Tensor valuesByHead = arena.matrix(DType.F32, dOut.rows(), dOut.columns());
                ofTiles("gradient_of_keys" + width, forward, dOut, rows, keysByHead, valuesByHead);
                sumHeads(shape.group(), shape.headDim(), keysByHead, dk);
                sumHeads(shape.group(), shape.valueDim(), valuesByHead, dv);
            }
            ofTiles("gradient_of_queries" + width, forward, dOut, rows, dq, null);
            if (dSinks != null && dq.rows() > 0) {
                context.kernel("attention_gradient", "gradient_of_sinks").launch(shape.heads(), THREADS, 0,
                        forward.sinks(), rows, rows.columns(), shape.heads(), dSinks);
            }
        }
    }

    private void softmaxRows(Attended forward, Tensor dOut, Tensor rows) {
        AttentionShape shape = forward.shape();
        Tensor q = forward.q();
        Tensor k = forward.k();
        Tensor out = forward.out();
        launch("softmax_rows", shape, rows, q, q.stride(), k, k.stride(), forward.slopes(), forward.sinks(), out,
                out.stride(), dOut, dOut.stride(), rows, rows.columns(), shape.sequenceLength(), shape.heads(),
                shape.kvHeads(), shape.headDim(), shape.valueDim(), shape.scale(), GpuAttention.inCaps(shape),
                shape.window());
    }

    /** A pass over the tiles of keys, which has two results, or of queries, which has one. */
    private void ofTiles(String kernel, Attended forward, Tensor dOut, Tensor rows, Tensor first,
            @Nullable Tensor second) {
        AttentionShape shape = forward.shape();
        Tensor q = forward.q();
        Tensor k = forward.k();
        Tensor v = forward.v();
        launch(kernel, shape, rows, q, q.stride(), k, k.stride(), v, v.stride(), forward.slopes(), dOut, dOut.stride(),
                rows, rows.columns(), shape.sequenceLength(), shape.heads(), shape.kvHeads(), shape.headDim(),
                shape.valueDim(), shape.scale(), GpuAttention.inCaps(shape), shape.window(), first, first.stride(),
                second, second == null ? 0L : second.stride());
    }

    private void launch(String kernel, AttentionShape shape, Tensor rows, @Nullable Object... arguments) {
        context.kernel("attention_gradient", kernel).launchGrid(Math.ceilDiv(shape.sequenceLength(), TILE),
                shape.heads(), rows.columns() / shape.sequenceLength(), THREADS, 0, arguments);
    }

    private void sumHeads(int group, int headDim, Tensor byHead, Tensor target) {
        Extent extent = Extent.byRows(target);
        context.kernel("attention_gradient", "sum_heads").launch(extent.blocks(), THREADS, 0, byHead, byHead.stride(),
                group, headDim, target, target.stride(), extent.columns());
    }
}
