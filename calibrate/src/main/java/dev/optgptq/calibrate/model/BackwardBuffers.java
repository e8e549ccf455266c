package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * Scratch memory of the backward pass, allocated once for batches of up to {@code rows} tokens: the trace of the
 * forward pass through one block, and its gradients.
 *
 * @param trace of the block, if it is recomputed
 * @param gradients of what it holds
 * @param halves F16 or BF16 [rows, the widest output of a linear]; null if the matmul dtype is float32
 */
record BackwardBuffers(BlockTrace trace, Buffers gradients, @Nullable Tensor halves) implements Backward.Workspace {

    static BackwardBuffers allocate(ModelSpec spec, DType matmul, Device device, TensorArena arena, int rows,
            int sequenceLength) {
        return new BackwardBuffers(BlockTrace.allocate(spec, matmul, device, arena, rows, sequenceLength),
                Buffers.allocate(widths(spec), arena, rows),
                matmul == DType.F32 ? null : arena.matrix(matmul, rows, widestOutput(spec)));
    }

    private static int widestOutput(ModelSpec spec) {
        return Math.toIntExact(spec.most(block -> block.linears().stream().mapToLong(LinearSpec::outputs).max()
                .orElse(0)));
    }

    private static Widths widths(ModelSpec spec) {
        Widths widths = new Widths();
        spec.blockSpecs().forEach(block -> BackwardPass.gradientNeeds(block, spec.hiddenSize(), widths));
        return widths;
    }

    /** Device memory of allocate(), with the temporaries of attention's gradient. */
    static long bytes(ModelSpec spec, DType matmul, int rows, int sequenceLength) {
        long halves = matmul == DType.F32 ? 0 : (long) matmul.bytes() * rows * widestOutput(spec);
        long inside = spec.blockSpecs().stream().mapToLong(BackwardBuffers::inside).max().orElse(0);
        return halves + BlockTrace.sharedBytes(spec, matmul, rows) + BlockTrace.bytes(spec, rows, sequenceLength)
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
        return new BackwardBuffers(kept, gradients, halves);
    }
}
