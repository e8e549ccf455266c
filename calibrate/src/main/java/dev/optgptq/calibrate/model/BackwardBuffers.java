package dev.optgptq.calibrate.model;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * Scratch memory of the backward pass, allocated once for batches of up to {@code rows} tokens: what the forward pass leaves
 * behind in one block, and the gradients for it.
 *
 * @param forward holds, after the block is computed again, everything up to the activation function
 * @param residual F32 [rows, hidden]: the residual stream between attention and MLP
 * @param activated F32 [rows, intermediate]: what enters the last linear
 * @param dNormed F32 [rows, hidden]
 * @param dQueryKeyValue F32 [rows, (heads + 2 kvHeads) headDim]
 * @param dAttended F32 [rows, heads headDim]
 * @param dActivated F32 [rows, intermediate]
 */
record BackwardBuffers(ForwardBuffers forward, Tensor residual, Tensor activated, Tensor dNormed,
        Tensor dQueryKeyValue, Tensor dAttended, Tensor dActivated) implements Transformer.BackwardWorkspace {

    static BackwardBuffers allocate(ModelSpec spec, Device device, TensorArena arena, int rows, int sequenceLength) {
        ModelSpec.Attention attention = spec.attention();
        int intermediate = spec.mlp().intermediateSize();
        return new BackwardBuffers(ForwardBuffers.allocate(spec, DType.F32, device, arena, rows, sequenceLength),
                arena.matrix(DType.F32, rows, spec.hiddenSize()), arena.matrix(DType.F32, rows, intermediate),
                arena.matrix(DType.F32, rows, spec.hiddenSize()),
                arena.matrix(DType.F32, rows, attention.queryWidth() + 2L * attention.kvWidth()),
                arena.matrix(DType.F32, rows, attention.queryWidth()), arena.matrix(DType.F32, rows, intermediate));
    }

    /** What allocate() takes on the device, with what attention's gradient takes for a while. */
    static long bytes(ModelSpec spec, int rows, int sequenceLength) {
        ModelSpec.Attention attention = spec.attention();
        long widths = 2L * spec.hiddenSize() + 2L * attention.queryWidth() + 2L * attention.kvWidth()
                + 2L * spec.mlp().intermediateSize();
        long perHead = attention.heads() == attention.kvHeads() ? 0 : 2L * attention.queryWidth();
        return ForwardBuffers.bytes(spec, DType.F32, rows, sequenceLength) + Float.BYTES * (rows * (widths + perHead));
    }

    /** The same buffers, cut to a batch of n tokens. */
    BackwardBuffers first(long n) {
        return n == forward.rows()
                ? this
                : new BackwardBuffers(forward.first(n), residual.rows(0, n), activated.rows(0, n), dNormed.rows(0, n),
                        dQueryKeyValue.rows(0, n), dAttended.rows(0, n), dActivated.rows(0, n));
    }

    Tensor dQueries() {
        return dQueryKeyValue.columns(0, forward.queries().columns());
    }

    Tensor dKeys() {
        return dQueryKeyValue.columns(forward.queries().columns(), forward.keys().columns());
    }

    Tensor dValues() {
        return dQueryKeyValue.columns(forward.queries().columns() + forward.keys().columns(),
                forward.values().columns());
    }
}
