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
 * The calibration sequences on their way through the blocks, as the quantized and as the original model has them.
 *
 * @param quantized the residual stream behind the quantized blocks, one row per token
 * @param original that of the original model: of all sequences, or of those that are held out, the last ones, where
 *     nothing else is wanted
 * @param plain of the held-out sequences behind the blocks as GPTQ alone solved them; null where some of these are not
 *     known any more
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

    /** Of all sequences' tokens the first one that the original stream has. */
    public long originalFrom() {
        return rows() - original.rows();
    }

    /** Rows [first, first + x.rows()) of the original stream, counted over all sequences: x F32 [n, hidden], written. */
    void readOriginal(Device device, long first, Tensor x) {
        original.read(device, first - originalFrom(), x);
    }

    /** The same rows, which the op overwrites: buffer F32 [n, hidden]. */
    void updateOriginal(Device device, long first, Tensor buffer, Consumer<Tensor> op) {
        original.update(device, first - originalFrom(), buffer, op);
    }

    /** Sequences. */
    public int count() {
        return Math.toIntExact(rows() / sequenceLength);
    }

    /** Sequences that may be learned from: the first ones. */
    public int trained() {
        return Math.toIntExact(trainedRows() / sequenceLength);
    }

    /** Their tokens; those behind are held out. */
    public long trainedRows() {
        return Partition.rows(partition.summed());
    }

    /** What a device runs of the rows from {@code from} on: of all, or of those that are held out. */
    List<Shard> parts(int device, long from) {
        if (from == 0) {
            return partition.all(device);
        }
        return device == 0 ? partition.heldOut() : List.of();
    }
}
