package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuBlas.Batch;
import dev.optgptq.kernels.gpu.GpuContext;
import org.jspecify.annotations.Nullable;

/**
 * Attention as two matmuls of a library, q k^T and the softmax's weights times v, with the softmax between, for some queries of all
 * heads at a time: in float32 of long sequences, and in fp16/bf16 for GPUs whose matrix units our own kernel does not support. Scores
 * and weights pass through memory twice, which costs less than computing on the plain units.
 */
final class AttentionProducts {

    private static final int THREADS = Extent.THREADS;
    /**
     * Maximum queries of a matmul: few, since keys up to the last of them are computed for all; enough for full tiles.
     */
    private static final long PRODUCT_QUERIES = 512;
    private static final long FEWEST_QUERIES = 16;
    /** Memory limit of scores and weights. */
    private static final long SCRATCH_BYTES = 192L << 20;
    /** fp16/bf16 rows start at multiples of 16 bytes, as the matrix units read them. */
    private static final long ALIGNED = 8;

    private final GpuContext context;
    private final GpuBlas blas;
    private final Attended of;
    private final Tensor q;
    private final AttentionShape shape;
    /** Query heads that share a KV head. */
    private final int group;
    /** Elements from one query's scores to the next. */
    private final long stride;
    /** Heads and queries of a matmul. */
    private final int heads;
    private final int queries;

    AttentionProducts(GpuContext context, GpuBlas blas, Attended of) {
        this.context = context;
        this.blas = blas;
        this.of = of;
        this.q = of.q();
        this.shape = of.shape();
        this.group = shape.group();
        this.stride = Math.ceilDiv(shape.sequenceLength(), ALIGNED) * ALIGNED;
        long row = stride * (Float.BYTES + q.dtype().bytes());
        int together = group == 1 ? shape.heads() : group;
        this.heads = Math.clamp(SCRATCH_BYTES / (FEWEST_QUERIES * row), 1, together);
        long most = Math.min(PRODUCT_QUERIES, shape.sequenceLength());
        this.queries = (int) Math.min(most,
                Math.max(FEWEST_QUERIES, SCRATCH_BYTES / (heads * row) / FEWEST_QUERIES * FEWEST_QUERIES));
    }

    void run() {
        try (TensorArena arena = context.arena()) {
            Tensor scores = arena.matrix(DType.F32, (long) heads * queries, stride);
            Tensor weights = arena.matrix(q.dtype(), (long) heads * queries, stride);
            int length = shape.sequenceLength();
            for (long sequence = 0; sequence < q.rows(); sequence += length) {
                for (int first = 0; first < length; first += queries) {
                    int count = Math.min(queries, length - first);
                    for (int head = 0; head < shape.heads();) {
                        int end = group == 1 ? shape.heads() : (head / group + 1) * group;
                        int several = Math.min(heads, end - head);
                        part(sequence, first, count, head, several, scores, weights);
                        head += several;
                    }
                }
            }
        }
    }

    /** Queries [first, first + count) of a sequence that starts at a row, heads [head, head + several). */
    private void part(long sequence, int first, int count, int head, int several, Tensor scores, Tensor weights) {
        int headDim = shape.headDim();
        int valueDim = shape.valueDim();
        int before = shape.window() > 0 ? Math.max(0, first - shape.window() + 1) : 0;
        int firstKey = (int) (before / ALIGNED * ALIGNED);
        int keys = first + count - firstKey;
        long kvHead = head / group;
        long perHead = queries * stride;
        Tensor score = scores.rows(0, count).columns(0, keys);
        Tensor weight = weights.rows(0, count).columns(0, keys);
        blas.gemmStrided(1f, q.rows(sequence + first, count).columns((long) head * headDim, headDim), false,
                of.k().rows(sequence + firstKey, keys).columns(kvHead * headDim, headDim), true, 0f, score,
                new Batch(several, headDim, group == 1 ? headDim : 0, perHead));
        context.kernel("causal_softmax", "causal_softmax").launchGrid(count, several, 1, THREADS, 0, score, weight,
                Extent.code(weight.dtype()), stride, perHead, ofHeads(of.slopes(), head, several),
                ofHeads(of.sinks(), head, several), first, firstKey, keys, shape.sequenceLength(), shape.scale(),
                GpuAttention.inCaps(shape), shape.window());
        blas.gemmStrided(1f, weight, false,
                of.v().rows(sequence + firstKey, keys).columns(kvHead * valueDim, valueDim), false, 0f,
                of.out().rows(sequence + first, count).columns((long) head * valueDim, valueDim),
                new Batch(several, perHead, group == 1 ? valueDim : 0, valueDim));
    }

    private static @Nullable Tensor ofHeads(@Nullable Tensor numbers, int head, int several) {
        return numbers == null ? null : numbers.columns(head, several);
    }
}
