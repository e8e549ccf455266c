package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.capture.Shard;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.run.memory.Placement;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The calibration sequences between two blocks.
 *
 * @param activations the residual stream, one row per token
 * @param sequenceLength tokens per sequence
 * @param partition which device runs which of them
 */
public record CalibrationStream(ActivationStore activations, int sequenceLength,
        Partition partition) implements AutoCloseable {

    /** Embeds all sequences in the memory that the plan chose. */
    static CalibrationStream embed(Replicas models, TokenSequences sequences, Partition partition,
            Placement.Place place) {
        int hidden = models.first().spec().hiddenSize();
        ActivationStore activations = switch (place) {
            case DEVICE -> ActivationStore.onDevices(models.devices(), partition, hidden);
            case HOST -> new ActivationStore(sequences.tokens(), hidden, Long.MAX_VALUE);
            case FILE -> new ActivationStore(sequences.tokens(), hidden, 0);
        };
        return embed(models, sequences, partition, activations);
    }

    /**
     * Embeds all sequences.
     *
     * @param activations for all their tokens; the stream owns them
     */
    static CalibrationStream embed(Replicas models, TokenSequences sequences, Partition partition,
            ActivationStore activations) {
        try {
            models.together(
                    device -> embed(models.on(device), sequences, partition, partition.all(device), activations));
        } catch (RuntimeException e) {
            activations.close();
            throw e;
        }
        return new CalibrationStream(activations, sequences.length(), partition);
    }

    private static void embed(Transformer model, TokenSequences sequences, Partition partition, List<Shard> parts,
            ActivationStore activations) {
        Device device = model.device();
        try (TensorArena scratch = device.arena()) {
            Tensor buffer = scratch.matrix(DType.F32, partition.batchRows(), model.spec().hiddenSize());
            Tensor ids = scratch.vector(DType.I32, partition.batchRows());
            model.withEmbedding(sequences.length(), embedding -> partition.eachBatch(parts, (first, count) -> {
                Tensor batch = ids.columns(0, count);
                device.upload(MemorySegment.ofArray(sequences.ids()).asSlice(4L * first, 4L * count), batch);
                Tensor x = buffer.rows(0, count);
                embedding.embed(batch, x);
                activations.write(device, first, x);
            }));
        }
    }

    long rows() {
        return activations.rows();
    }

    @Override
    public void close() {
        activations.close();
    }
}
