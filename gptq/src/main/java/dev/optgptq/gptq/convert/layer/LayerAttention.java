package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.calibrate.model.AttentionParts.Positions;
import dev.optgptq.calibrate.model.HeadNorms;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.formats.dtype.DType;
import org.jspecify.annotations.Nullable;

/**
 * The attention of one layer by its own weights, outside of any block. N tokens are whole sequences of the shape's length.
 *
 * @param parts its weights, shaped as the shape says
 * @param norms of queries and keys, head by head, with one weight for all heads
 */
record LayerAttention(Device device, AttentionShape shape, Positions positions, AttentionParts parts,
        HeadNorms norms) {

    /** Without norms of queries and keys. */
    LayerAttention(Device device, AttentionShape shape, Positions positions, AttentionParts parts) {
        this(device, shape, positions, parts, HeadNorms.NONE);
    }

    /** Queries F32 [N, heads headDim], keys and values F32 [N, kvHeads headDim]. */
    record Projected(Tensor queries, Tensor keys, Tensor values) {
        /** Room for n tokens. */
        static Projected allocate(TensorArena arena, AttentionShape shape, long n) {
            long kvWidth = (long) shape.kvHeads() * shape.headDim();
            return new Projected(arena.matrix(DType.F32, n, (long) shape.heads() * shape.headDim()),
                    arena.matrix(DType.F32, n, kvWidth), arena.matrix(DType.F32, n, kvWidth));
        }

        Projected first(long n) {
            return new Projected(queries.rows(0, n), keys.rows(0, n), values.rows(0, n));
        }
    }

    /** The same with other weights. */
    LayerAttention with(AttentionParts other) {
        return new LayerAttention(device, shape, positions, other, norms);
    }

    /** The same with other positions. */
    LayerAttention with(Positions other) {
        return new LayerAttention(device, shape, other, parts, norms);
    }

    /** The same without positions. */
    LayerAttention without() {
        return with(new Positions(null, null));
    }

    int headDim() {
        return shape.headDim();
    }

    /** The same attention with a key-value head for each query head. */
    AttentionShape unshared() {
        return new AttentionShape(shape.sequenceLength(), shape.heads(), shape.heads(), shape.headDim(),
                shape.valueDim(), shape.scale(), shape.softcap(), shape.window());
    }

    /** Of x F32 [N, hidden], the block's normed input; queries and keys turned by their positions. */
    void project(Tensor x, Projected into) {
        queries(x, into.queries());
        keys(x, into.keys());
        device.matrix().linear(x, parts.value(), parts.valueBias(), 0, into.values());
    }

    void queries(Tensor x, Tensor into) {
        device.matrix().linear(x, parts.query(), parts.queryBias(), 0, into);
        norms.queries(device, into);
        rotate(into);
    }

    void keys(Tensor x, Tensor into) {
        device.matrix().linear(x, parts.key(), parts.keyBias(), 0, into);
        norms.keys(device, into);
        rotate(into);
    }

    void rotate(Tensor heads) {
        AttentionParts.Rotation rotation = positions.rotation();
        if (rotation != null) {
            device.neural().rotary(heads, headDim(), rotation.cos(), rotation.sin(), rotation.layout());
        }
    }

    /** The gradient through rotate, in place. */
    void rotateBack(Tensor heads) {
        AttentionParts.Rotation rotation = positions.rotation();
        if (rotation != null) {
            device.gradient().rotaryGradient(heads, headDim(), rotation.cos(), rotation.sin(), rotation.layout());
        }
    }

    /** out [N, heads headDim] = the values, averaged by attention. */
    void attend(Projected p, Tensor out) {
        attend(p.queries(), p.keys(), p.values(), out);
    }

    /** The same of other values, shaped as the keys. */
    void attend(Tensor queries, Tensor keys, Tensor values, Tensor out) {
        device.neural().attention(queries, keys, values, positions.slopes(), shape, out);
    }

    /** y [N, hidden] = beta y + the output projection of attended [N, heads headDim]. */
    void output(Tensor attended, float beta, Tensor y) {
        device.matrix().linear(attended, parts.output(), parts.outputBias(), beta, y);
    }

    @Nullable
    Tensor slopes() {
        return positions.slopes();
    }

    /** Empty where there are none. */
    float[] slopesOnHost(HostCopies copies) {
        return positions.slopes() == null ? new float[0] : copies.download(positions.requireSlopes()).toFloats();
    }
}
