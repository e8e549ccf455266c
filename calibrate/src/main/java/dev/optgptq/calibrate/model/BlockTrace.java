package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * What the forward pass leaves behind in one block for the gradients, for batches of up to {@code rows} tokens. The
 * gradients overwrite it.
 *
 * @param forward holds everything up to the activation function
 * @param residual F32 [rows, hidden]: the residual stream between attention and MLP
 * @param activated F32 [rows, intermediate]: what enters the last linear
 */
record BlockTrace(ForwardBuffers forward, Tensor residual, Tensor activated) implements Backward.Trace {

    static BlockTrace allocate(ModelSpec spec, Device device, TensorArena arena, int rows, int sequenceLength) {
        return around(ForwardBuffers.allocate(spec, DType.F32, device, arena, rows, sequenceLength), spec, arena);
    }

    /** One more of the same shape. */
    BlockTrace another(ModelSpec spec, TensorArena arena) {
        return around(forward.another(spec, arena), spec, arena);
    }

    private static BlockTrace around(ForwardBuffers forward, ModelSpec spec, TensorArena arena) {
        return new BlockTrace(forward, arena.matrix(DType.F32, forward.rows(), spec.hiddenSize()),
                arena.matrix(DType.F32, forward.rows(), spec.mlp().intermediateSize()));
    }

    /** What allocate() takes on the device. */
    static long bytes(ModelSpec spec, int rows, int sequenceLength) {
        return ForwardBuffers.bytes(spec, DType.F32, rows, sequenceLength)
                + (long) Float.BYTES * rows * (spec.hiddenSize() + spec.mlp().intermediateSize());
    }

    /** The same buffers, cut to a batch of n tokens. */
    BlockTrace first(long n) {
        return n == forward.rows() ? this : new BlockTrace(forward.first(n), residual.rows(0, n), activated.rows(0, n));
    }
}
