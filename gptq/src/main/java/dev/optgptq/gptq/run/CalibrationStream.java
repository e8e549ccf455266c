package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.Division;
import dev.optgptq.calibrate.capture.Part;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The calibration sequences on their way through the blocks.
 *
 * @param activations the residual stream, one row per token
 * @param sequenceLength tokens per sequence
 * @param division which device runs which of them
 */
record CalibrationStream(ActivationStore activations, int sequenceLength, Division division) implements AutoCloseable {

    /** Tokens per batch on a processor: enough for GEMMs at full speed, few enough to stay in caches and in memory. */
    static final int BATCH_TOKENS = 2048;

    /** Embeds all sequences where the plan puts them. */
    static CalibrationStream embed(Replicas models, TokenSequences sequences, Division division,
            MemoryPlan.Place place) {
        int hidden = models.first().spec().hiddenSize();
        ActivationStore activations = switch (place) {
            case DEVICE -> ActivationStore.onDevices(models.devices(), division, hidden);
            case HOST -> new ActivationStore(sequences.tokens(), hidden, Long.MAX_VALUE);
            case FILE -> new ActivationStore(sequences.tokens(), hidden, 0);
        };
        return embed(models, sequences, division, activations);
    }

    /**
     * Embeds all sequences.
     *
     * @param activations for all their tokens; the stream owns them
     */
    static CalibrationStream embed(Replicas models, TokenSequences sequences, Division division,
            ActivationStore activations) {
        try {
            models.together(device -> embed(models.on(device), sequences, division, division.all(device), activations));
        } catch (RuntimeException e) {
            activations.close();
            throw e;
        }
        return new CalibrationStream(activations, sequences.length(), division);
    }

    private static void embed(Transformer model, TokenSequences sequences, Division division, List<Part> parts,
            ActivationStore activations) {
        Device device = model.device();
        try (TensorArena scratch = device.arena()) {
            Tensor buffer = scratch.matrix(DType.F32, division.batchRows(), model.spec().hiddenSize());
            Tensor ids = scratch.vector(DType.I32, division.batchRows());
            model.withEmbedding(embedding -> division.eachBatch(parts, (first, count) -> {
                Tensor batch = ids.columns(0, count);
                device.upload(MemorySegment.ofArray(sequences.ids()).asSlice(4L * first, 4L * count), batch);
                Tensor x = buffer.rows(0, count);
                embedding.embed(batch, x);
                activations.write(device, first, x);
            }));
        }
    }

    /** Whole sequences of about so many tokens. */
    static int batchRows(int tokens, int sequenceLength, int count) {
        return sequenceLength * Math.clamp(tokens / sequenceLength, 1, count);
    }

    long rows() {
        return activations.rows();
    }

    @Override
    public void close() {
        activations.close();
    }
}
