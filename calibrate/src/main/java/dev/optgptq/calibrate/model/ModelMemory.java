package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;

/** Device memory of a model's parts, in bytes, before anything is loaded. */
public final class ModelMemory {

    /** Left free on a device of its own memory: the workspaces of its matrix library and of attention, and kernels. */
    public static final long LIBRARIES = 512L << 20;

    private ModelMemory() {}

    /** {@link Transformer#workspace}. */
    public static long workspaceBytes(ModelSpec spec, DType products, int rows, int sequenceLength) {
        return ForwardBuffers.bytes(spec, products, rows, sequenceLength);
    }

    /** A loaded block, the largest; packed linears temporarily take one more copy. */
    public static long blockBytes(ModelSpec spec, DType products) {
        return spec.most(block -> BlockWeights.bytes(block, products));
    }

    /** A block with streamed experts, the largest. */
    public static long streamedBytes(ModelSpec spec, DType products) {
        return spec.most(block -> BlockWeights.streamedBytes(block, products));
    }

    /** A loaded head. */
    public static long headBytes(ModelSpec spec) {
        return Head.bytes(spec);
    }

    /** All weights, as a model loads them. */
    public static long weightBytes(Transformer model) {
        ModelSpec spec = model.spec();
        long linears = spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .mapToLong(model.loader()::weightBytes).sum();
        long rest = spec.blockSpecs().stream().mapToLong(block -> BlockWeights.bytes(block, DType.F32)
                - block.linears().stream().mapToLong(linear -> 4L * linear.inputs() * linear.outputs()).sum()).sum();
        return linears + rest + Head.bytes(spec) + EmbeddingWeights.bytes(spec);
    }
}
