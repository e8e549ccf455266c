package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;

/**
 * Intermediate results of the forward pass through one block, for the gradients of batches of up to {@code rows}
 * tokens. The gradients overwrite it.
 *
 * @param forward its scratch memory, with the results that are kept
 */
record BlockTrace(ForwardBuffers forward) implements Backward.Trace {

    static BlockTrace allocate(ModelSpec spec, Device device, TensorArena arena, int rows, int sequenceLength) {
        return allocate(spec, Tables.of(spec, sequenceLength, device, arena), arena, rows);
    }

    private static BlockTrace allocate(ModelSpec spec, Tables tables, TensorArena arena, int rows) {
        return new BlockTrace(ForwardBuffers.allocate(widths(spec), spec, DType.F32, tables, arena, rows));
    }

    /** One more of the same shape, which shares the constants. */
    BlockTrace another(ModelSpec spec, TensorArena arena) {
        return allocate(spec, forward.tables(), arena, forward.rows());
    }

    private static Widths widths(ModelSpec spec) {
        Widths widths = ForwardBuffers.widths(spec);
        spec.blockSpecs().forEach(block -> ForwardPass.traceNeeds(block, spec.hiddenSize(), widths));
        return widths;
    }

    /** Device memory of allocate(). */
    static long bytes(ModelSpec spec, int rows, int sequenceLength) {
        return rows * widths(spec).bytesPerRow() + Tables.bytes(spec, sequenceLength);
    }
}
