package dev.optgptq.calibrate.data;

import dev.optgptq.kernels.Together;

/**
 * Consecutive sequences.
 *
 * @param from the first
 * @param to the one after the last
 */
public record SequenceRange(int from, int to) {

    /** All of them. */
    public static SequenceRange all(TokenSequences text) {
        return new SequenceRange(0, text.count());
    }

    /**
     * The share of one of several devices: whole batches except for the last of the text, so that batches do not depend
     * on the devices.
     *
     * @param batch sequences of a batch
     * @param device its index
     */
    public static SequenceRange of(TokenSequences text, int batch, int device, int devices) {
        int batches = Math.ceilDiv(text.count(), batch);
        return new SequenceRange(Math.min(text.count(), Together.from(batches, device, devices) * batch),
                Math.min(text.count(), Together.from(batches, device + 1, devices) * batch));
    }

    public int count() {
        return to - from;
    }
}
