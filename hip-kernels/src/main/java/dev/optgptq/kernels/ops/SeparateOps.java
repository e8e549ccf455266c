package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/** The definition of FusedOps: one op after the other. */
public record SeparateOps(NeuralOps neural, CacheOps cache) implements FusedOps {

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out, Tensor rounded) {
        cache.attend(q, pages, rows, slopes, sinks, shape, out);
        neural.convert(out, rounded);
    }

    @Override
    public void turnAndAppend(Tensor q, Tensor k, Tensor v, Rotation by, Tensor slots, CachePages pages) {
        cache.rotaryAt(q, pages.headDim(), by.cos(), by.sin(), by.positions(), by.layout());
        cache.rotaryAt(k, pages.headDim(), by.cos(), by.sin(), by.positions(), by.layout());
        cache.append(k, v, slots, pages);
    }
}
