package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * All that attention of one block reads: queries and keys are turned to their positions already.
 *
 * @param queries [N, heads headDim] in the matmul dtype, or F32 as the context wants
 * @param keys [N, kvHeads headDim], as are values
 * @param sinks F32 [1, heads]; null where the block has none
 */
public record AttentionInputs(BlockSpec block, Mixer.Attention form, Tensor queries, Tensor keys, Tensor values,
        @Nullable Tensor sinks) {}
