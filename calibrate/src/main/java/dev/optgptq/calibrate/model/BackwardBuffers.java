package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * Scratch memory of the backward pass, allocated once for batches of up to {@code rows} tokens: what the forward pass leaves
 * behind in one block, and the gradients for it.
 *
 * @param trace of the block, when it is computed again
 * @param dNormed F32 [rows, hidden]
 * @param dQueryKeyValue F32 [rows, (heads + 2 kvHeads) headDim]
 * @param dAttended F32 [rows, heads headDim]
 * @param dActivated F32 [rows, intermediate]
 */
record BackwardBuffers(BlockTrace trace, Tensor dNormed, Tensor dQueryKeyValue, Tensor dAttended, Tensor dActivated)
        implements
            Backward.Workspace {

    static BackwardBuffers allocate(ModelSpec spec, Device device, TensorArena arena, int rows, int sequenceLength) {
        ModelSpec.Attention attention = spec.attention();
        return new BackwardBuffers(BlockTrace.allocate(spec, device, arena, rows, sequenceLength),
                arena.matrix(DType.F32, rows, spec.hiddenSize()),
                arena.matrix(DType.F32, rows, attention.queryWidth() + 2L * attention.kvWidth()),
                arena.matrix(DType.F32, rows, attention.queryWidth()),
                arena.matrix(DType.F32, rows, spec.mlp().intermediateSize()));
    }

    /** What allocate() takes on the device, with what attention's gradient takes for a while. */
    static long bytes(ModelSpec spec, int rows, int sequenceLength) {
        ModelSpec.Attention attention = spec.attention();
        long widths = spec.hiddenSize() + 2L * attention.queryWidth() + 2L * attention.kvWidth()
                + spec.mlp().intermediateSize();
        long perHead = attention.heads() == attention.kvHeads() ? 0 : 2L * attention.queryWidth();
        return BlockTrace.bytes(spec, rows, sequenceLength) + Float.BYTES * (rows * (widths + perHead));
    }

    /** The same gradients for a block that need not be computed again. */
    BackwardBuffers of(BlockTrace kept) {
        return new BackwardBuffers(kept, dNormed, dQueryKeyValue, dAttended, dActivated);
    }

    /** The same buffers, cut to a batch of n tokens. */
    BackwardBuffers first(long n) {
        return n == trace.forward().rows()
                ? this
                : new BackwardBuffers(trace.first(n), dNormed.rows(0, n), dQueryKeyValue.rows(0, n),
                        dAttended.rows(0, n), dActivated.rows(0, n));
    }

    Tensor dQueries() {
        return dQueryKeyValue.columns(0, trace.forward().queries().columns());
    }

    Tensor dKeys() {
        return dQueryKeyValue.columns(trace.forward().queries().columns(), trace.forward().keys().columns());
    }

    Tensor dValues() {
        return dQueryKeyValue.columns(trace.forward().queries().columns() + trace.forward().keys().columns(),
                trace.forward().values().columns());
    }
}
