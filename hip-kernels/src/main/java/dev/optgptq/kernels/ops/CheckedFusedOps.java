package dev.optgptq.kernels.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** Checks the shapes and dtypes of every call of a device's own FusedOps, then passes it on. */
public final class CheckedFusedOps implements FusedOps {

    private final FusedOps ops;

    public CheckedFusedOps(FusedOps ops) {
        this.ops = ops;
    }

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out, Tensor rounded) {
        CheckedCacheOps.checkAttend(q, pages, rows, slopes, sinks, shape, out);
        rounded("attend", rounded, out);
        ops.attend(q, pages, rows, slopes, sinks, shape, out, rounded);
    }

    @Override
    public void turnAndAppend(Tensor q, Tensor k, Tensor v, Rotation by, Tensor slots, CachePages pages) {
        Arguments.f32("turnAndAppend", "q", q, k.rows(), q.columns());
        CheckedCacheOps.checkAppend("turnAndAppend", k, v, slots, pages);
        CheckedCacheOps.checkRotary("turnAndAppend", "q", q, pages.headDim(), by.cos(), by.sin(), by.positions());
        ops.turnAndAppend(q, k, v, by, slots, pages);
    }

    private static void rounded(String op, Tensor rounded, Tensor exact) {
        DType dtype = rounded.dtype() == DType.BF16 ? DType.BF16 : DType.F16;
        Arguments.shaped(op, "rounded", rounded, dtype, exact.rows(), exact.columns());
    }
}
