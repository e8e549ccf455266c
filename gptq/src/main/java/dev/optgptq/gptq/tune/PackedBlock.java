package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.packed.PackedLinear;
import java.util.List;

/**
 * A quantized block in memory or in a mapped file.
 *
 * @param linears in forward order
 * @param packed their tensors, in the same order
 */
public record PackedBlock(List<LinearSpec> linears, List<PackedLinear> packed) {}
