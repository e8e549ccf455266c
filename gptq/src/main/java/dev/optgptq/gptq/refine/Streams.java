package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.ActivationStore;

/**
 * The calibration sequences on their way through the blocks, twice.
 *
 * @param quantized the residual stream behind the quantized blocks, one row per token
 * @param original that of the original model
 * @param sequenceLength tokens per sequence
 * @param batchRows tokens that run at once, whole sequences
 */
public record Streams(ActivationStore quantized, ActivationStore original, int sequenceLength, int batchRows) {

    /** Tokens of both. */
    public long rows() {
        return quantized.rows();
    }

    /** Sequences. */
    public int count() {
        return Math.toIntExact(rows() / sequenceLength);
    }

    /** Sequences that may be learned from: the first ones. */
    public int trained() {
        return count() - Refinement.heldOut(count());
    }

    /** Their tokens; those behind are held out. */
    public long trainedRows() {
        return (long) trained() * sequenceLength;
    }

    /** Rows of one part of a batch. */
    @FunctionalInterface
    interface Batch {
        void run(long first, long count);
    }

    /** Goes through the rows [from, to), whole sequences, in batches. */
    void eachBatch(long from, long to, Batch batch) {
        for (long first = from; first < to; first += batchRows) {
            batch.run(first, Math.min(batchRows, to - first));
        }
    }
}
