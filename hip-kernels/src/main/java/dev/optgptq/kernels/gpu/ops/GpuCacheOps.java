package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.CacheType;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/** CacheOps on a GPU. Slots, tables and positions are read on the device, where nothing can be thrown. */
public final class GpuCacheOps implements CacheOps {

    private static final int THREADS = Extent.THREADS;
    /** Threads of append.hip that take one head of one row. */
    private static final int HEAD_THREADS = 32;

    private final GpuContext context;

    public GpuCacheOps(GpuContext context) {
        this.context = context;
    }

    @Override
    public void append(Tensor k, Tensor v, Tensor slots, CachePages pages) {
        context.kernel("cache_append", "append").launch(headBlocks(2 * k.rows() * pages.kvHeads()), THREADS, 0, k,
                k.stride(), v, v.stride(), slots, k.rows(), code(pages.type()), pages.kvHeads(), pages.headDim(),
                pages.type().width(pages.headDim()), pages.keys(), pages.keys().stride(), pages.keyGrids(),
                stride(pages.keyGrids()), pages.values(), pages.values().stride(), pages.valueGrids(),
                stride(pages.valueGrids()));
    }

    /** Blocks of cache_append.hip for so many heads of rows. */
    static long headBlocks(long heads) {
        return Math.ceilDiv(heads * HEAD_THREADS, THREADS);
    }

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        new PagedAttention(context).run(q, pages, rows, slopes, sinks, shape, out, null);
    }

    @Override
    public void rotaryAt(Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions, RotaryLayout layout) {
        Extent extent = new Extent(x.rows(), x.columns() / headDim * cos.columns());
        context.kernel("rotary_at", "rotary_at").launch(extent.blocks(), THREADS, 0, x, x.stride(), headDim, cos,
                cos.stride(), sin, sin.stride(), positions, Math.toIntExact(cos.columns()),
                layout == RotaryLayout.INTERLEAVED ? 1 : 0, extent.columns());
    }

    @Override
    public void argmax(Tensor logits, Tensor ids) {
        context.kernel("argmax", "argmax").launch(logits.rows(), THREADS, 0, logits, logits.stride(),
                Math.toIntExact(logits.columns()), ids);
    }

    /** As cache_pages.h numbers them. */
    static int code(CacheType type) {
        return switch (type) {
            case F32, F16, BF16 -> Extent.code(type.dtype());
            case INT8 -> 8;
            case INT4 -> 4;
        };
    }

    static long stride(@Nullable Tensor tensor) {
        return tensor == null ? 0 : tensor.stride();
    }
}
