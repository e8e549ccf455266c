package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/** Passes one device's batches through a block: its model, and memory for a batch. */
public final class ShardPass implements AutoCloseable {

    private final Transformer model;
    private final Partition partition;
    private final TensorArena arena;
    private final Transformer.Workspace workspace;
    private final Tensor buffer;

    /** @param sequenceLength tokens per sequence */
    public ShardPass(Transformer model, Partition partition, int sequenceLength) {
        this.model = model;
        this.partition = partition;
        this.arena = model.device().arena();
        try {
            this.workspace = model.workspace(arena, partition.batchRows(), sequenceLength);
            this.buffer = arena.matrix(DType.F32, partition.batchRows(), model.spec().hiddenSize());
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** Room for the rows of a batch, F32 [count, hidden]. */
    public Tensor rows(long count) {
        return buffer.rows(0, count);
    }

    /** Rows of a stream, which may be overwritten: F32 [count, hidden]. */
    public Tensor read(ActivationStore stream, long first, long count) {
        Tensor x = rows(count);
        stream.read(model.device(), first, x);
        return x;
    }

    /** Runs a batch through a block in place: x F32 [N, hidden]. */
    public void forward(BlockWeights weights, Tensor x, InputTap tap) {
        model.forward(weights, x, workspace, tap);
    }

    /** Runs a batch through a block's mixture alone, from the inputs that an earlier pass kept. */
    public void mixture(BlockWeights weights, MixtureInputs kept, long first, long count, InputTap tap) {
        Tensor input = rows(count);
        kept.read(model.device(), first, input);
        model.mixture(weights, input, workspace, tap);
    }

    /** Replaces rows from {@code first} on, as {@link ActivationStore#update} does. */
    @FunctionalInterface
    public interface Stream {
        void update(Device on, long first, Tensor buffer, Consumer<Tensor> op);
    }

    /**
     * Advances a stream through a block, and waits for completion.
     *
     * @param passed receives the number of rows of each batch
     */
    public void advance(BlockWeights weights, List<Shard> parts, Stream stream, LongConsumer passed) {
        partition.eachBatch(parts, (first, count) -> {
            stream.update(model.device(), first, rows(count), x -> forward(weights, x, InputTap.NONE));
            passed.accept(count);
        });
        model.device().synchronize();
    }

    @Override
    public void close() {
        arena.close();
    }
}
