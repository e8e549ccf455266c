package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.ops.NeuralOps;
import org.jspecify.annotations.Nullable;

/**
 * Scratch memory of the forward pass, allocated once for batches of up to {@code rows} tokens.
 *
 * @param normed F32 [rows, hidden]
 * @param queryKeyValue F32 [rows, (heads + 2 kvHeads) headDim]: all queries, then all keys, then all values
 * @param attended F32 [rows, heads headDim]
 * @param gate F32 [rows, intermediate]; null in a plain MLP
 * @param up F32 [rows, intermediate]
 * @param rotation the rotary tables, where the model turns its queries and keys
 * @param slopes F32 [1, heads], where the model has ALiBi
 * @param halves F16 or BF16 [rows, the widest of a linear's input and queryKeyValue]; null where products are in float32
 */
record ForwardBuffers(int rows, AttentionShape shape, Tensor normed, Tensor queryKeyValue, Tensor attended,
        @Nullable Tensor gate, Tensor up, @Nullable Rotation rotation,
        @Nullable Tensor slopes, @Nullable Tensor halves) implements Transformer.Workspace {

    /** cos and sin F32 [sequenceLength, rotaryDim / 2]. */
    record Rotation(Tensor cos, Tensor sin, Position.Rotary form) {}

    /** @param products dtype of what the linears multiply: F32, F16 or BF16 */
    static ForwardBuffers allocate(ModelSpec spec, DType products, Device device, TensorArena arena, int rows,
            int sequenceLength) {
        ModelSpec.Attention attention = spec.attention();
        if (sequenceLength < 1 || rows < sequenceLength) {
            throw new IllegalArgumentException(rows + " rows cannot hold a sequence of " + sequenceLength);
        }
        return allocate(spec, products, arena, rows,
                new AttentionShape(sequenceLength, attention.heads(), attention.kvHeads(), attention.headDim(),
                        attention.scale(), attention.window()),
                spec.position() instanceof Position.Rotary rotary
                        ? PositionTables.rotation(rotary, sequenceLength, device, arena)
                        : null,
                spec.position() instanceof Position.Alibi alibi
                        ? PositionTables.slopes(alibi, attention.heads(), device, arena)
                        : null);
    }

    /** One more for the same products, which shares the tables of positions. */
    ForwardBuffers another(ModelSpec spec, TensorArena arena) {
        return allocate(spec, halves == null ? DType.F32 : halves.dtype(), arena, rows, shape, rotation, slopes);
    }

    private static ForwardBuffers allocate(ModelSpec spec, DType products, TensorArena arena, int rows,
            AttentionShape shape, @Nullable Rotation rotation, @Nullable Tensor slopes) {
        ModelSpec.Attention attention = spec.attention();
        boolean gated = spec.mlp().form() == ModelSpec.Mlp.Form.GATED;
        int intermediate = spec.mlp().intermediateSize();
        return new ForwardBuffers(rows, shape,
                arena.matrix(DType.F32, rows, spec.hiddenSize()),
                arena.matrix(DType.F32, rows, attention.queryWidth() + 2L * attention.kvWidth()),
                arena.matrix(DType.F32, rows, attention.queryWidth()),
                gated ? arena.matrix(DType.F32, rows, intermediate) : null,
                arena.matrix(DType.F32, rows, intermediate), rotation, slopes,
                products == DType.F32 ? null : arena.matrix(products, rows, widestHalves(spec)));
    }

    /** What allocate() takes on the device. */
    static long bytes(ModelSpec spec, DType products, int rows, int sequenceLength) {
        ModelSpec.Attention attention = spec.attention();
        long widths = spec.hiddenSize() + 2L * attention.queryWidth() + 2L * attention.kvWidth()
                + (spec.mlp().form() == ModelSpec.Mlp.Form.GATED ? 2L : 1L) * spec.mlp().intermediateSize();
        long tables = switch (spec.position()) {
            case Position.Rotary rotary -> (long) sequenceLength * rotary.rotaryDim();
            case Position.Alibi alibi -> attention.heads();
            case Position.None none -> 0;
        };
        long halves = products == DType.F32 ? 0 : (long) products.bytes() * rows * widestHalves(spec);
        return Float.BYTES * (rows * widths + tables) + halves;
    }

    private static long widestHalves(ModelSpec spec) {
        return Math.max(spec.widestInput(), spec.attention().queryWidth() + 2L * spec.attention().kvWidth());
    }

    /** The same buffers, cut to a batch of n tokens. */
    ForwardBuffers first(long n) {
        if (n > rows || n % shape.sequenceLength() != 0) {
            throw new IllegalArgumentException("a batch of " + n + " tokens; expected a multiple of "
                    + shape.sequenceLength() + ", at most " + rows);
        }
        return n == rows
                ? this
                : new ForwardBuffers((int) n, shape, normed.rows(0, n), queryKeyValue.rows(0, n), attended.rows(0, n),
                        gate == null ? null : gate.rows(0, n), up.rows(0, n), rotation, slopes,
                        halves == null ? null : halves.rows(0, n));
    }

    /**
     * x F32 [n, width] as it is multiplied: itself, or rounded to the dtype of the products, in memory that the
     * next call takes.
     */
    Tensor factor(NeuralOps neural, Tensor x) {
        if (halves == null) {
            return x;
        }
        Tensor rounded = halves.columns(0, x.columns());
        neural.convert(x, rounded);
        return rounded;
    }

    Tensor queries() {
        return queries(queryKeyValue);
    }

    Tensor keys() {
        return keys(queryKeyValue);
    }

    Tensor values() {
        return values(queryKeyValue);
    }

    /** The queries' columns of queryKeyValue, or of what was made of it. */
    Tensor queries(Tensor all) {
        return all.columns(0, queryWidth());
    }

    Tensor keys(Tensor all) {
        return all.columns(queryWidth(), kvWidth());
    }

    Tensor values(Tensor all) {
        return all.columns(queryWidth() + kvWidth(), kvWidth());
    }

    private long queryWidth() {
        return (long) shape.heads() * shape.headDim();
    }

    private long kvWidth() {
        return (long) shape.kvHeads() * shape.headDim();
    }
}
