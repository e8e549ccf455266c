package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.Tensor;

/**
 * The codes of one linear with their grid. These integers are written as they are; nothing is derived from the
 * dequantized weight.
 *
 * @param codes U8 [in, out]
 * @param scales F32 [G, out], exact values of the grid's scale type once SiteSolver returns them
 * @param zeros I32 [G, out]
 * @param groupOf I32 [1, in], the g_idx: which row of scales an input uses, in the inputs' own order
 */
public record QuantizedWeight(Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf) {}
