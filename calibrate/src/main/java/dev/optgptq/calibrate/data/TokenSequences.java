package dev.optgptq.calibrate.data;

import dev.optgptq.formats.tokenizer.Tokenizer;
import java.nio.file.Path;

/**
 * Calibration or evaluation tokens, cut into sequences of one length.
 *
 * @param ids all sequences, one after the other; length count * length
 */
public record TokenSequences(int[] ids, int count, int length) {

    /** How calibration sequences are drawn from a text. */
    public enum Sampling {
        /** The first sequences of consecutive tokens. */
        SEQUENTIAL,
        /** Random places, or random documents of a .jsonl, from a seed, as in the GPTQ paper. */
        RANDOM
    }

    /**
     * Draws calibration sequences from a .txt (one stream of tokens) or a .jsonl ("text" of each line is a document).
     * Throws UserError BAD_TEXT saying how many tokens there are and how many are needed.
     */
    public static TokenSequences sample(Path text, Tokenizer tokenizer, Sampling sampling, int count, int length,
            long seed) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Non-overlapping windows of a whole text, the tail dropped; at least one, else UserError BAD_TEXT. */
    public static TokenSequences windows(Path text, Tokenizer tokenizer, int length) {
        throw new UnsupportedOperationException("not written yet");
    }
}
