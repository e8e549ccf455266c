package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The calibration sequences on their way through the blocks.
 *
 * @param activations the residual stream, one row per token
 * @param sequenceLength tokens per sequence
 * @param batchRows tokens that run at once, whole sequences
 * @param saliency how much each token matters; null where all count the same
 */
record CalibrationStream(ActivationStore activations, int sequenceLength, int batchRows,
        @Nullable Saliency saliency) implements AutoCloseable {

    /** Tokens per batch: enough for GEMMs at full speed, few enough to stay in caches and in memory. */
    static final int BATCH_TOKENS = 2048;

    /** Embeds all sequences. */
    static CalibrationStream embed(Transformer model, TokenSequences sequences, long memoryLimit) {
        int batchRows = batchRows(sequences.length(), sequences.count());
        int hidden = model.spec().hiddenSize();
        long rows = (long) sequences.count() * sequences.length();
        ActivationStore activations = new ActivationStore(rows, hidden, memoryLimit);
        Device device = model.device();
        try (TensorArena scratch = device.arena()) {
            Tensor x = scratch.matrix(DType.F32, batchRows, hidden);
            Tensor ids = scratch.vector(DType.I32, batchRows);
            for (int first = 0; first < rows; first += batchRows) {
                int count = (int) Math.min(batchRows, rows - first);
                device.upload(MemorySegment.ofArray(sequences.ids()).asSlice(4L * first, 4L * count),
                        ids.columns(0, count));
                model.embed(ids.columns(0, count), x.rows(0, count));
                activations.write(device, first, x.rows(0, count));
            }
        }
        return new CalibrationStream(activations, sequences.length(), batchRows, null);
    }

    /** The same stream, whose tokens count by their saliency; it then owns that. */
    CalibrationStream weighedBy(Saliency tokens) {
        return new CalibrationStream(activations, sequenceLength, batchRows, tokens);
    }

    static int batchRows(int sequenceLength, int count) {
        return sequenceLength * Math.clamp(BATCH_TOKENS / sequenceLength, 1, count);
    }

    long rows() {
        return activations.rows();
    }

    @Override
    public void close() {
        activations.close();
        if (saliency != null) {
            saliency.close();
        }
    }
}
