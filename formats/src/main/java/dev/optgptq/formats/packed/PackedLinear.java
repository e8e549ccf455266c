package dev.optgptq.formats.packed;

import java.lang.foreign.MemorySegment;

/**
 * The packed tensors of one linear layer in GPTQ layout (in = inputs, out = outputs, b = bits, G = groups), all
 * little-endian:
 *
 * @param bits 2, 3, 4 or 8
 * @param inputs a multiple of 32
 * @param outputs a multiple of 32
 * @param groups number of groups
 * @param zeroOffset added to every stored zero point: 1 for v1, 0 for v2
 * @param qweight int32 [in * b / 32, out]: a little-endian stream of codes along the inputs
 * @param qzeros int32 [G, out * b / 32]
 * @param scales float16 [G, out]
 * @param gIdx int32 [in], each in [0, G)
 */
public record PackedLinear(int bits, int inputs, int outputs, int groups, int zeroOffset, MemorySegment qweight,
        MemorySegment qzeros, MemorySegment scales, MemorySegment gIdx) {}
