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

    /** Rotates every head of x F32 [N, heads headDim] to the position of its row, in place. */
    void rotate(Position.Rotary form, int headDim, Tensor x);

    /** The same to out of x's shape, F32, F16 or BF16; where roundsFactors() is true. */
    default void rotateTo(Position.Rotary form, int headDim, Tensor x, Tensor out) {
        throw new IllegalStateException("a context whose factors stay float32 turns them in place");
    }

    /** Whether queries, keys and values are rounded to the matmul dtype before it attends; else they stay F32. */
    default boolean roundsFactors() {
        return true;
    }

    /** Whether attend rotates queries and keys itself, so that they come as they are projected. */
    default boolean turns() {
        return false;
    }

    /**
     * Attends over the tokens that each row can see.
     *
     * @param out F32 [N, heads headDim], written
     * @param rounded the same in the matmul dtype, or null
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
