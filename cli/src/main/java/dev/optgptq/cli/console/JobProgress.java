package dev.optgptq.cli.console;

import dev.optgptq.calibrate.Progress;

/** Shows how far a command is, and prints lines without garbling that. Safe for use by several threads. */
public interface JobProgress extends Progress, AutoCloseable {

    /** Prints one line that stays. */
    void log(String line);

    /** Removes what is live. */
    @Override
    void close();
}
