package dev.optgptq.cli.console;

import dev.optgptq.formats.UserError;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.Reader;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * The streams of a command: results go to {@code out}, progress and messages to {@code err}. The methods here
 * escape control characters; the streams themselves are for code that writes terminal codes.
 *
 * @param in what the user types, for commands that ask
 * @param out results
 * @param err progress, decisions, errors
 */
public record Console(BufferedReader in, PrintWriter out, PrintWriter err, Terminal terminal) {

    private static final String RED = "\u001B[1;31m";
    private static final String PLAIN = "\u001B[0m";

    /** Progress of one command: redrawn in place on a terminal, plain lines elsewhere. */
    public JobProgress progress() {
        JobProgress display = terminal.isLive()
                ? new LiveProgress(err, terminal, System::nanoTime)
                : new PlainProgress(err, System::nanoTime);
        return new InterruptibleProgress(display, this);
    }

    /**
     * The same, also written to a file. UserError OUTPUT when it cannot be written.
     *
     * @param log its path
     */
    public JobProgress progress(String log) {
        try {
            return new LoggedProgress(progress(), new PrintWriter(log, StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UserError(UserError.Code.OUTPUT, log + ": expected a file that can be written, found " + e
                    + "; name another with --log", e);
        }
    }

    /** Says nothing. */
    public static Console silent() {
        return new Console(new BufferedReader(Reader.nullReader()), new PrintWriter(Writer.nullWriter()),
                new PrintWriter(Writer.nullWriter()), Terminal.NONE);
    }

    /** Says why the command failed. */
    public void error(String message) {
        String name = terminal.colorErr() ? RED + "opt-gptq:" + PLAIN : "opt-gptq:";
        err.println(name + " " + Visible.text(message));
        err.flush();
    }

    /** One line beside the results. */
    public void say(String line) {
        err.println(Visible.text(line));
        err.flush();
    }

    /** The stack trace of a failure. */
    public void trace(Throwable problem) {
        StringWriter trace = new StringWriter();
        problem.printStackTrace(new PrintWriter(trace, true));
        say(trace.toString().stripTrailing());
    }

    /** Prints results; the text has its own line ends. */
    public void print(String text) {
        out.print(Visible.text(text));
        out.flush();
    }

    /** The next line that the user types, after a sign on a terminal that it is waited for; null at the end. */
    public @Nullable String ask() {
        if (terminal.isLive()) {
            err.print("> ");
            err.flush();
        }
        try {
            return in.readLine();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Whether results were lost: the disk is full, or the reader has closed standard output. */
    public boolean lostResults() {
        return out.checkError();
    }
}
