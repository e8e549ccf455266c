package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;

/**
 * Scratch memory of the backward pass, allocated once for batches of up to {@code rows} tokens: the trace of the
 * forward pass through one block, and its gradients.
 *
 * @param trace of the block, if it is recomputed
 * @param gradients of what it holds
 */
record BackwardBuffers(BlockTrace trace, Buffers gradients) implements Backward.Workspace {

    static BackwardBuffers allocate(ModelSpec spec, Device device, TensorArena arena, int rows, int sequenceLength) {
        return new BackwardBuffers(BlockTrace.allocate(spec, device, arena, rows, sequenceLength),
                Buffers.allocate(widths(spec), arena, rows));
    }

    private static Widths widths(ModelSpec spec) {
        Widths widths = new Widths();
        spec.blockSpecs().forEach(block -> BackwardPass.gradientNeeds(block, spec.hiddenSize(), widths));
        return widths;
    }

    /** Device memory of allocate(), with the temporaries of attention's gradient. */
    static long bytes(ModelSpec spec, int rows, int sequenceLength) {
        long inside = spec.blockSpecs().stream().mapToLong(BackwardBuffers::inside).max().orElse(0);
        return BlockTrace.bytes(spec, rows, sequenceLength)
                + rows * (widths(spec).bytesPerRow() + Float.BYTES * inside);
    }

    /** Attention's gradient sums keys' and values' head by head where several query heads share them. */
    private static long inside(BlockSpec block) {
        return block.mixer() instanceof Mixer.Attention form && form.heads() != form.kvHeads()
                ? 2L * form.queryWidth()
                : 0;
    }

    /** The same gradients for a block that is not recomputed. */
    BackwardBuffers of(BlockTrace kept) {
        return new BackwardBuffers(kept, gradients);
    }
}
