package dev.optgptq.kernels.ops;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/**
 * Neighbouring ops of a decoding step as one. Each is defined as the ops that it replaces, {@link SeparateOps}, and gives their
 * bits; a GPU needs one launch and one pass over memory for it.
 */
public interface FusedOps {

    /** CacheOps.attend, then rounded F16 or BF16 [N, heads * headDim] = out. */
    void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out, Tensor rounded);

    /** CacheOps.rotaryAt of q F32 [N, heads * headDim] and k, in place, then CacheOps.append of k and v. */
    void turnAndAppend(Tensor q, Tensor k, Tensor v, Rotation rotation, Tensor slots, CachePages pages);

    /**
     * By what queries and keys are turned, as in CacheOps.rotaryAt.
     *
     * @param cos F32 [positions, rotaryDim / 2]
     * @param sin likewise
     * @param positions I32 [1, N]
     */
    record Rotation(Tensor cos, Tensor sin, Tensor positions, RotaryLayout layout) {}
}
