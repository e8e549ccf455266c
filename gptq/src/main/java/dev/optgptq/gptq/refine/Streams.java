package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.capture.Partition;
import dev.optgptq.calibrate.capture.Shard;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The calibration sequences between two blocks, in the quantized and in the original model.
 *
 * @param quantized the residual stream after the quantized blocks, one row per token
 * @param original that of the original model: of all sequences, or only of the held-out ones, which are the last, if no
 *     more are needed
 * @param plain of the held-out sequences after the blocks as solved by GPTQ alone; null if some of these are no longer
 *     known
 * @param sequenceLength tokens per sequence
 * @param partition which device runs which of them
 */
public record Streams(ActivationStore quantized, ActivationStore original, @Nullable ActivationStore plain,
        int sequenceLength, Partition partition) {

    /** Tokens of all sequences. */
    public long rows() {
        return quantized.rows();
    }

    /** Tokens that run at once, whole sequences. */
    public int batchRows() {
        return partition.batchRows();
    }

    /** The first token of the original stream, counted over all sequences. */
    public long originalFrom() {
        return rows() - original.rows();
    }

    /** Rows [first, first + x.rows()) of the original stream, counted over all sequences: x F32 [n, hidden], written. */
    void readOriginal(Device device, long first, Tensor x) {
        original.read(device, first - originalFrom(), x);
    }

    /** The same rows, for an op that overwrites them: buffer F32 [n, hidden]. */
    void updateOriginal(Device device, long first, Tensor buffer, Consumer<Tensor> op) {
        original.update(device, first - originalFrom(), buffer, op);
    }

    /** Sequences. */
    public int count() {
        return Math.toIntExact(rows() / sequenceLength);
    }

    /** The training sequences: the first ones. */
    public int trained() {
        return Math.toIntExact(trainedRows() / sequenceLength);
    }

    /** Their tokens; those after them are held out. */
    public long trainedRows() {
        return Partition.rows(partition.summed());
    }

    /** A device's share of the rows from {@code from} on: of all, or of the held-out ones. */
    List<Shard> parts(int device, long from) {
        if (from == 0) {
            return partition.all(device);
        }
        return partition.heldOut(device);
    }
}
