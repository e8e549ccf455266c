package dev.optgptq.cli;

import dev.optgptq.cli.command.OptGptq;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.Terminal;
import java.io.PrintStream;
import java.io.PrintWriter;

/** The opt-gptq command. */
public final class Main {

    private Main() {}

    public static void main(String[] args) {
        System.exit(run(writer(System.out), writer(System.err), args));
    }

    private static PrintWriter writer(PrintStream stream) {
        return new PrintWriter(stream, true, stream.charset());
    }

    /** Runs one command line; returns 0 done, 1 failed, 2 usage, 3 a threshold was missed. */
    public static int run(PrintWriter out, PrintWriter err, String... args) {
        return OptGptq.run(new Console(out, err, Terminal.detect()), args);
    }
}
