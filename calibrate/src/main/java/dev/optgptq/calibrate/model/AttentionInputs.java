package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The inputs of one block's attention, with queries and keys already rotated to their positions.
 *
 * @param queries [N, heads headDim] in the matmul dtype or F32, as the context requires
 * @param keys [N, kvHeads headDim], as are values
 * @param sinks F32 [1, heads]; null where the block has none
 */
public record AttentionInputs(BlockSpec block, Mixer.Attention form, Tensor queries, Tensor keys, Tensor values,
        @Nullable Tensor sinks) {}
