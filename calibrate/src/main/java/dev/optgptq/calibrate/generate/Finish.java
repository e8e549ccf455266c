package dev.optgptq.calibrate.generate;

/** Why an answer ended. */
public enum Finish {
    /** A stop token, which is not part of the answer. */
    STOP_TOKEN("stop_token"),
    /** A stop text, which is not part of the answer. */
    STOP_TEXT("stop_text"),
    /** The requested number of tokens. */
    LENGTH("length"),
    /** The model's context is full. */
    CONTEXT("context"),
    /** It was interrupted. */
    INTERRUPTED("interrupted");

    private final String word;

    Finish(String word) {
        this.word = word;
    }

    /** Its name in files. */
    public String word() {
        return word;
    }
}
