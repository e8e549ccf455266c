package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The inputs of one block's attention.
 *
 * @param queries [N, heads headDim]: rotated and in the matmul dtype, or neither, as TokenContext.turns() says
 * @param keys [N, kvHeads headDim], as are values
 * @param sinks F32 [1, heads]; null where the block has none
 */
public record AttentionInputs(BlockSpec block, Mixer.Attention form, Tensor queries, Tensor keys, Tensor values,
        @Nullable Tensor sinks) {}
