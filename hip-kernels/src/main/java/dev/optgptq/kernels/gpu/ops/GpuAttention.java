package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuBlas.Batch;
import dev.optgptq.kernels.gpu.GpuContext;
import org.jspecify.annotations.Nullable;

/**
 * Attention on a GPU. F32 goes through one kernel on the plain units, which keeps scores in shared memory. Halves go through
 * the library's products on the matrix units with a softmax between, for some queries of all heads at a time: their scores
 * pass through memory twice, which costs less than the plain units do.
 */
final class GpuAttention {

    private static final int THREADS = Extent.THREADS;
    /** Queries of a block of the kernel. */
    private static final int QUERIES = 64;
    private static final int MOST_HEAD_DIM = 256;

    /** Most queries of a product: what lies behind the last of them is computed for all, so few; enough for full tiles. */
    private static final long PRODUCT_QUERIES = 512;
    private static final long FEWEST_QUERIES = 16;
    /** What scores and weights may take. */
    private static final long SCRATCH_BYTES = 192L << 20;
    /** Rows of halves start at multiples of 16 bytes, as the matrix units read them. */
    private static final long ALIGNED = 8;

    private final GpuContext context;

    GpuAttention(GpuContext context) {
        this.context = context;
    }

    /** As NeuralOps.attention. */
    void run(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        GpuBlas blas = context.blas();
        if (q.dtype() == DType.F32) {
            kernel(q, k, v, slopes, shape, out);
        } else if (blas != null && q.rows() > 0 && context.trustsProducts(q.dtype())) {
            new Products(blas, q, k, v, slopes, shape, out).run();
        } else {
            try (TensorArena arena = context.arena()) {
                kernel(widened(q, arena), widened(k, arena), widened(v, arena), slopes, shape, out);
            }
        }
    }

    private void kernel(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        context.kernel("attention", "attention" + width(shape.headDim())).launchGrid(
                Math.ceilDiv(shape.sequenceLength(), QUERIES), shape.heads(), q.rows() / shape.sequenceLength(),
                THREADS, 0, q, q.stride(), k, k.stride(), v, v.stride(), slopes, out, out.stride(),
                shape.sequenceLength(), shape.heads(), shape.kvHeads(), shape.headDim(), shape.scale(),
                shape.window());
    }

    /** The smallest kernel that holds a head. */
    static int width(int headDim) {
        if (headDim > MOST_HEAD_DIM) {
            throw new IllegalArgumentException(
                    "attention: heads of up to " + MOST_HEAD_DIM + " elements, found " + headDim);
        }
        return headDim <= 64 ? 64 : headDim <= 128 ? 128 : MOST_HEAD_DIM;
    }

    private Tensor widened(Tensor halves, TensorArena arena) {
        Tensor widened = arena.matrix(DType.F32, halves.rows(), halves.columns());
        Extent extent = Extent.of(halves, widened);
        context.kernel("convert", "convert").launch(extent.blocks(), THREADS, 0, halves, Extent.code(halves.dtype()),
                halves.stride(), widened, Extent.code(DType.F32), widened.stride(), extent.columns());
        return widened;
    }

    /** Attention of halves as two products: q k^T, and the softmax's weights times v. */
    private final class Products {
        private final GpuBlas blas;
        private final Tensor q;
        private final Tensor k;
        private final Tensor v;
        private final @Nullable Tensor slopes;
        private final AttentionShape shape;
        private final Tensor out;
        /** Query heads that share a KV head. */
        private final int group;
        /** Elements from one query's scores to the next. */
        private final long stride;
        /** Heads and queries of a product. */
        private final int heads;
        private final int queries;

        private Products(GpuBlas blas, Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape,
                Tensor out) {
            this.blas = blas;
            this.q = q;
            this.k = k;
            this.v = v;
            this.slopes = slopes;
            this.shape = shape;
            this.out = out;
            this.group = shape.heads() / shape.kvHeads();
            this.stride = Math.ceilDiv(shape.sequenceLength(), ALIGNED) * ALIGNED;
            long row = stride * (Float.BYTES + q.dtype().bytes());
            int together = group == 1 ? shape.heads() : group;
            this.heads = Math.clamp(SCRATCH_BYTES / (FEWEST_QUERIES * row), 1, together);
            long most = Math.min(PRODUCT_QUERIES, shape.sequenceLength());
            this.queries = (int) Math.min(most,
                    Math.max(FEWEST_QUERIES, SCRATCH_BYTES / (heads * row) / FEWEST_QUERIES * FEWEST_QUERIES));
        }

        private void run() {
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
            int before = shape.window() > 0 ? Math.max(0, first - shape.window() + 1) : 0;
            int firstKey = (int) (before / ALIGNED * ALIGNED);
            int keys = first + count - firstKey;
            long kvColumn = (long) (head / group) * headDim;
            long perHead = queries * stride;
            Tensor score = scores.rows(0, count).columns(0, keys);
            Tensor weight = weights.rows(0, count).columns(0, keys);
            long kvStride = group == 1 ? headDim : 0;
            blas.gemmStrided(1f, q.rows(sequence + first, count).columns((long) head * headDim, headDim), false,
                    k.rows(sequence + firstKey, keys).columns(kvColumn, headDim), true, 0f, score,
                    new Batch(several, headDim, kvStride, perHead));
            context.kernel("causal_softmax", "causal_softmax").launchGrid(count, several, 1, THREADS, 0, score, weight,
                    Extent.code(weight.dtype()), stride, perHead,
                    slopes == null ? null : slopes.columns(head, several), first, firstKey, keys, shape.scale(),
                    shape.window());
            blas.gemmStrided(1f, weight, false, v.rows(sequence + firstKey, keys).columns(kvColumn, headDim), false, 0f,
                    out.rows(sequence + first, count).columns((long) head * headDim, headDim),
                    new Batch(several, perHead, kvStride, headDim));
        }
    }
}
