package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * The calibration sequences between two blocks, as the original model computes them and as the converted one does.
 *
 * @param original F32 [sequences length, hidden], as is converted
 * @param length of a sequence
 * @param together sequences that are computed with at a time
 */
public record Sequences(ActivationStore original, ActivationStore converted, int length, int together) {

    /** Every fourth sequence is held out to choose by. */
    private static final int HELD_OUT = 4;
    /** Sequences whose scores are fitted at the most. */
    private static final int FITTED = 32;

    public int count() {
        return Math.toIntExact(original.rows() / length);
    }

    /** Those that least squares are solved with. */
    int[] summed() {
        return IntStream.range(0, count()).filter(sequence -> !isHeldOut(sequence)).toArray();
    }

    /** Those that a ridge is chosen by. */
    int[] heldOut() {
        return IntStream.range(0, count()).filter(this::isHeldOut).toArray();
    }

    private boolean isHeldOut(int sequence) {
        return sequence % HELD_OUT == HELD_OUT - 1;
    }

    /** Those that scores are fitted to: the first ones. */
    int[] fitted() {
        return IntStream.range(0, Math.max(1, Math.min(FITTED, count() * 2 / 3))).toArray();
    }

    /** Those that attention is judged by, behind them. */
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

    /** Goes through some of them, so many at a time as are computed together. */
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
