package dev.optgptq.calibrate.data;

import java.util.Locale;

/** Where a beginning-of-sequence token stands. */
public enum Bos {
    /** Before each document, if the model's tokenizer puts one there by itself. */
    AUTO,
    /** At the start of each sequence, and nowhere else. */
    ALWAYS,
    /** Nowhere. */
    NEVER;

    /** As the command line writes it. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
