package dev.optgptq.gptq.run.memory;

/** How many calibration tokens pass through a block at once. */
public final class CalibrationBatch {

    /** Tokens per batch on a CPU: enough for GEMMs at full speed, few enough to stay in caches and in memory. */
    public static final int TOKENS = 2048;

    private CalibrationBatch() {}

    /** Rows of whole sequences, about {@code tokens} of them and at least one sequence, of {@code count} sequences. */
    public static int rows(int tokens, int sequenceLength, int count) {
        return sequenceLength * Math.clamp(tokens / sequenceLength, 1, count);
    }
}
