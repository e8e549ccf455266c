package dev.optgptq.cli.console;

import java.io.PrintWriter;
import java.io.StringWriter;

/**
 * The two streams of a command: results go to {@code out}, everything said on the way to {@code err}. What is printed through
 * the methods here is made visible first; the streams themselves are for what writes terminal codes of its own.
 *
 * @param out what the command was run for
 * @param err progress, decisions, errors
 */
public record Console(PrintWriter out, PrintWriter err, Terminal terminal) {

    private static final String RED = "\u001B[1;31m";
    private static final String PLAIN = "\u001B[0m";

    /** A display of one command's progress, live on a terminal, as plain lines elsewhere. */
    public JobProgress progress() {
        JobProgress display = terminal.isLive()
                ? new LiveProgress(err, terminal, System::nanoTime)
                : new PlainProgress(err, System::nanoTime);
        return new InterruptibleProgress(display, this);
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

    /** Where the program was when it failed. */
    public void trace(Throwable problem) {
        StringWriter trace = new StringWriter();
        problem.printStackTrace(new PrintWriter(trace, true));
        say(trace.toString().stripTrailing());
    }

    /** Prints results: text that ends its lines itself. */
    public void print(String text) {
        out.print(Visible.text(text));
        out.flush();
    }

    /** Whether results were lost: standard output is full, or nobody reads it any more. */
    public boolean lostResults() {
        return out.checkError();
    }
}
