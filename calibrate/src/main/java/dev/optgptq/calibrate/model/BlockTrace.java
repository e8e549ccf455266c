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

    /** @param matmul matmul dtype of the linears: F32, F16 or BF16 */
    static BlockTrace allocate(ModelSpec spec, DType matmul, Device device, TensorArena arena, int rows,
            int sequenceLength) {
        return new BlockTrace(ForwardBuffers.allocate(widths(spec), spec, matmul,
                Tables.of(spec, sequenceLength, device, arena), arena, rows));
    }

    /** One more of the same shape, which shares the constants, and the memory for matmul inputs. */
    BlockTrace another(ModelSpec spec, TensorArena arena) {
        return new BlockTrace(new ForwardBuffers(Buffers.allocate(widths(spec), arena, forward.rows()),
                forward.tables(), forward.halves()));
    }

    private static Widths widths(ModelSpec spec) {
        Widths widths = ForwardBuffers.widths(spec);
        spec.blockSpecs().forEach(block -> ForwardPass.traceNeeds(block, spec.hiddenSize(), widths));
        return widths;
    }

    /** Device memory of allocate() with float32, and of another(). */
    static long bytes(ModelSpec spec, int rows, int sequenceLength) {
        return rows * widths(spec).bytesPerRow() + Tables.bytes(spec, sequenceLength);
    }

    /** What allocate() takes more with another matmul dtype. */
    static long sharedBytes(ModelSpec spec, DType matmul, int rows) {
        return ForwardBuffers.halvesBytes(spec, matmul, rows);
    }
}
