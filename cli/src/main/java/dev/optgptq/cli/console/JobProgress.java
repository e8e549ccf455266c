package dev.optgptq.cli.console;

import dev.optgptq.calibrate.Progress;

/** Shows a command's progress, and prints lines without garbling it. Thread-safe. */
public interface JobProgress extends Progress, AutoCloseable {

    /** Prints one permanent line. */
    void log(String line);

    /** Removes the line that is redrawn in place. */
    @Override
    void close();
}
