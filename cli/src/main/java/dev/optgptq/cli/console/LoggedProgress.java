package dev.optgptq.cli.console;

import java.io.PrintWriter;

/** Shows progress, and writes the same as plain lines to a file. */
final class LoggedProgress implements JobProgress {

    private final JobProgress shown;
    private final PrintWriter file;
    private final JobProgress written;

    /** Takes ownership of both. */
    LoggedProgress(JobProgress shown, PrintWriter file) {
        this.shown = shown;
        this.file = file;
        this.written = new PlainProgress(file, System::nanoTime);
    }

    @Override
    public void at(String phase, long done, long total) {
        shown.at(phase, done, total);
        written.at(phase, done, total);
    }

    @Override
    public void log(String line) {
        shown.log(line);
        written.log(Visible.text(line));
    }

    @Override
    public void close() {
        shown.close();
        file.close();
    }
}
