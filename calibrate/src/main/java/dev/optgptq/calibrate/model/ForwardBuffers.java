package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps;
import org.jspecify.annotations.Nullable;

/**
 * Scratch memory of the forward pass, allocated once for batches of up to {@code rows} tokens, and the constants of a
 * sequence length.
 *
 * @param halves F16 or BF16 [rows, the widest matmul input]; null if the matmul dtype is float32
 */
record ForwardBuffers(Buffers scratch, Tables tables, @Nullable Tensor halves) implements Transformer.Workspace {

    /** @param matmul matmul dtype of the linears: F32, F16 or BF16 */
    static ForwardBuffers allocate(ModelSpec spec, DType matmul, Device device, TensorArena arena, int rows,
            int sequenceLength) {
        if (sequenceLength < 1 || rows < sequenceLength) {
            throw new IllegalArgumentException(rows + " rows cannot hold a sequence of " + sequenceLength);
        }
        return allocate(widths(spec), spec, matmul, Tables.of(spec, sequenceLength, device, arena), arena, rows);
    }

    /** For new tokens of sequences of up to a number of positions. */
    static ForwardBuffers allocatePaged(ModelSpec spec, DType matmul, Device device, TensorArena arena, int rows,
            int positions) {
        return allocate(widths(spec), spec, matmul, Tables.of(spec, positions, device, arena), arena, rows);
    }

    static ForwardBuffers allocate(Widths widths, ModelSpec spec, DType matmul, Tables tables, TensorArena arena,
            int rows) {
        return new ForwardBuffers(Buffers.allocate(widths, arena, rows), tables,
                matmul == DType.F32 ? null : arena.matrix(matmul, rows, widestFactor(spec)));
    }

    /** Device memory of allocate(). */
    static long bytes(ModelSpec spec, DType matmul, int rows, int sequenceLength) {
        return rows * widths(spec).bytesPerRow() + Tables.bytes(spec, sequenceLength)
                + halvesBytes(spec, matmul, rows);
    }

    /** Of halves. */
    static long halvesBytes(ModelSpec spec, DType matmul, int rows) {
        return matmul == DType.F32 ? 0 : (long) matmul.bytes() * rows * widestFactor(spec);
    }

    /** Needs of the forward pass. */
    static Widths widths(ModelSpec spec) {
        Widths widths = new Widths();
        spec.blockSpecs().forEach(block -> ForwardPass.forwardNeeds(block, spec.hiddenSize(), widths));
        return widths;
    }

    private static int widestFactor(ModelSpec spec) {
        int widest = spec.widestInput();
        for (BlockSpec block : spec.blockSpecs()) {
            widest = Math.max(widest, switch (block.mixer()) {
                case Mixer.Attention form -> AttentionStep.widestFactor(form);
                case Mixer.LatentAttention form -> LatentAttentionStep.widestFactor(form);
                case Mixer.DeltaNet form -> 0;
            });
        }
        return widest;
    }

    int rows() {
        return (int) scratch.rows();
    }

    /** Whole sequences of the workspace's length. */
    WholeSequences sequences(NeuralOps neural, long n) {
        if (n > rows() || n % tables.sequenceLength() != 0) {
            throw new IllegalArgumentException("a batch of " + n + " tokens; expected a multiple of "
                    + tables.sequenceLength() + ", at most " + rows());
        }
        return new WholeSequences(neural, tables);
    }

    Frame frame(BlockWeights weights, long n, TokenContext context, boolean keeps, InputTap tap) {
        return new Frame(weights, scratch.first(n), halves, tables, context, keeps, tap);
    }
}
