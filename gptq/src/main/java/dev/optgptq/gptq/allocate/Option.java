package dev.optgptq.gptq.allocate;

import dev.optgptq.formats.packed.PackedGrid;

/**
 * A grid that linears may have.
 *
 * @param bytes of their packed tensors in the checkpoint
 * @param loss by which the loss rises, to second order, in nats per token
 */
public record Option(PackedGrid grid, long bytes, double loss) {}
