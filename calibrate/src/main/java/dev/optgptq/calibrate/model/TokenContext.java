package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The context of a batch's rows: whole sequences one after the other, or new tokens after those of a cache.
 */
public interface TokenContext {

    /**
     * Whether attend rotates queries and keys itself, and rounds them and values as it stores them: they come as they are projected,
     * F32. Else they come rotated, in the matmul dtype.
     */
    default boolean turns() {
        return false;
    }

    /** Rotates every head of x F32 [N, heads headDim] to the position of its row, in place. Not where turns() is true. */
    default void rotate(Position.Rotary form, int headDim, Tensor x) {
        throw new IllegalStateException("this context rotates where it attends");
    }

    /** The same to out of x's shape, F32, F16 or BF16. */
    default void rotateTo(Position.Rotary form, int headDim, Tensor x, Tensor out) {
        throw new IllegalStateException("this context rotates where it attends");
    }

    /**
     * Attends over the tokens that each row can see.
     *
     * @param out F32 [N, heads headDim], written
     * @param rounded the same in the matmul dtype, or null; it may lie where inputs in the matmul dtype do, so it is written last
     */
    void attend(AttentionInputs inputs, Tensor out, @Nullable Tensor rounded);

    /**
     * The same for latent attention: queries and keys F32 or the matmul dtype [N, heads headDim], values [N, heads valueDim].
     *
     * @param out F32 [N, heads valueDim], written
     */
    default void attendLatent(Mixer.LatentAttention form, Tensor queries, Tensor keys, Tensor values, Tensor out) {
        throw new UserError(UserError.Code.UNSUPPORTED_MODEL,
                "latent attention is supported over whole sequences only, not over a cache");
    }

    /** The length of every sequence if rows are whole sequences; recurrent mixers need it. */
    default int sequenceLength() {
        throw new UserError(UserError.Code.UNSUPPORTED_MODEL,
                "linear attention is supported over whole sequences only, not over a cache");
    }
}
