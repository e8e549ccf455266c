package dev.optgptq.cli.console;

import java.io.PrintWriter;

/**
 * The two streams of a command: results go to {@code out}, everything said on the way to {@code err}.
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
        err.println(name + " " + message);
        err.flush();
    }

    /** Prints text that ends its lines itself. */
    public void print(String text) {
        out.print(text);
        out.flush();
    }
}
