package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * The calibration sequences between two blocks, in the original and in the converted model.
 *
 * @param original F32 [sequences length, hidden], as is converted
 * @param length of a sequence
 * @param together sequences in a batch
 */
public record Sequences(ActivationStore original, ActivationStore converted, int length, int together) {

    /** Every fourth sequence is held out for validation. */
    private static final int HELD_OUT = 4;
    /** Maximum number of sequences for the score fit. */
    private static final int FITTED = 32;

    /** Training and validation sequences of the score fit, at most. */
    public static final int MOST_FITTED = FITTED + FITTED / 2;

    public int count() {
        return Math.toIntExact(original.rows() / length);
    }

    /** Training sequences of the least squares. */
    int[] summed() {
        return IntStream.range(0, count()).filter(sequence -> !isHeldOut(sequence)).toArray();
    }

    /** Validation sequences that choose the ridge. */
    int[] heldOut() {
        return IntStream.range(0, count()).filter(this::isHeldOut).toArray();
    }

    private boolean isHeldOut(int sequence) {
        return sequence % HELD_OUT == HELD_OUT - 1;
    }

    /** Training sequences of the score fit: the first ones. */
    int[] fitted() {
        return IntStream.range(0, Math.max(1, Math.min(FITTED, count() * 2 / 3))).toArray();
    }

    /** Validation sequences of the score fit, after them. */
    int[] judged() {
        int fitted = fitted().length;
        return IntStream.range(fitted, Math.min(count(), fitted + Math.max(1, fitted / 2))).toArray();
    }

    /** Some sequences. */
    @FunctionalInterface
    interface Batch {
        /** @param at how many sequences came before */
        void run(int at, int[] sequences);
    }

    /** Goes through some of them in batches. */
    void each(int[] which, Batch batch) {
        for (int at = 0; at < which.length; at += together) {
            batch.run(at, Arrays.copyOfRange(which, at, Math.min(which.length, at + together)));
        }
    }

    int[] all() {
        return IntStream.range(0, count()).toArray();
    }

    int batchRows() {
        return together * length;
    }

    /** Copies some of them from one of the two stores to the first rows of x; returns these. */
    Tensor read(Device device, ActivationStore from, int[] sequences, Tensor x) {
        for (int i = 0; i < sequences.length; i++) {
            from.read(device, (long) sequences[i] * length, x.rows((long) i * length, length));
        }
        return x.rows(0, (long) sequences.length * length);
    }

    /** Changes all of one of the two stores, batch after batch. */
    void update(Device device, ActivationStore store, Tensor buffer, Consumer<Tensor> change) {
        for (int sequence = 0; sequence < count(); sequence += together) {
            int n = Math.min(together, count() - sequence);
            store.update(device, (long) sequence * length, buffer.rows(0, (long) n * length), change);
        }
    }
}
