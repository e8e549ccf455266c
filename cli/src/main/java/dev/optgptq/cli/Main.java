package dev.optgptq.cli;

import dev.optgptq.cli.command.CommandTree;
import dev.optgptq.cli.command.ExitCode;
import dev.optgptq.cli.command.Failures;
import dev.optgptq.cli.command.Version;
import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.Terminal;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.Reader;
import java.nio.charset.Charset;
import java.util.Set;

/** The opt-gptq command. */
public final class Main {

    /** Answered without the command line's parser, which takes longer to load than all else. */
    private static final Set<String> VERSION = Set.of("-V", "--version");

    private Main() {}

    public static void main(String[] args) {
        System.exit(run(new Console(reader(), writer(System.out), writer(System.err), Terminal.detect()), args));
    }

    private static BufferedReader reader() {
        return new BufferedReader(new InputStreamReader(System.in,
                Charset.forName(System.getProperty("stdin.encoding", Charset.defaultCharset().name()))));
    }

    private static PrintWriter writer(PrintStream stream) {
        return new PrintWriter(stream, true, stream.charset());
    }

    /** Runs one command line; returns 0 done, 1 failed, 2 usage, 3 a threshold was missed; not 0 where results were lost. */
    public static int run(PrintWriter out, PrintWriter err, String... args) {
        return run(Reader.nullReader(), out, err, args);
    }

    /** The same, with what the user types. */
    public static int run(Reader in, PrintWriter out, PrintWriter err, String... args) {
        return run(new Console(new BufferedReader(in), out, err, Terminal.NONE), args);
    }

    private static int run(Console console, String... args) {
        if (args.length == 1 && VERSION.contains(args[0])) {
            console.print(Version.text());
            return console.lostResults() ? new Failures(console).lostResults(ExitCode.DONE) : ExitCode.DONE;
        }
        Failures failures = new Failures(console);
        int exitCode = execute(console, failures, args);
        return console.lostResults() ? failures.lostResults(exitCode) : exitCode;
    }

    private static int execute(Console console, Failures failures, String... args) {
        try {
            return CommandTree.of(console, args).execute(args);
        } catch (OutOfMemoryError e) {
            return failures.outOfMemory(e);
        } catch (Error e) { // such as a native library that does not load
            return failures.bug(e);
        }
    }
}
