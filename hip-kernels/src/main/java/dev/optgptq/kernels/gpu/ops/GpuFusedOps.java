package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.FusedOps;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/** FusedOps on a GPU, by the kernels of the ops that they replace. */
public final class GpuFusedOps implements FusedOps {

    private static final int THREADS = Extent.THREADS;

    private final GpuContext context;

    public GpuFusedOps(GpuContext context) {
        this.context = context;
    }

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out, Tensor rounded) {
        new PagedAttention(context).run(q, pages, rows, slopes, sinks, shape, out, rounded);
    }

    @Override
    public void turnAndAppend(Tensor q, Tensor k, Tensor v, Rotation by, Tensor slots, CachePages pages) {
        int heads = Math.toIntExact(q.columns() / pages.headDim());
        long items = q.rows() * (heads + 2L * pages.kvHeads());
        context.kernel("cache_append", "turn_and_append").launch(GpuCacheOps.headBlocks(items), THREADS, 0,
                q, q.stride(), heads, k, k.stride(), v, v.stride(), by.cos(), by.cos().stride(), by.sin(),
                by.sin().stride(), by.positions(), Math.toIntExact(by.cos().columns()),
                by.layout() == RotaryLayout.INTERLEAVED ? 1 : 0, slots, k.rows(), GpuCacheOps.code(pages.type()),
                pages.kvHeads(), pages.headDim(), pages.type().width(pages.headDim()), pages.keys(),
                pages.keys().stride(), pages.keyGrids(), GpuCacheOps.stride(pages.keyGrids()), pages.values(),
                pages.values().stride(), pages.valueGrids(), GpuCacheOps.stride(pages.valueGrids()));
    }
}
