package dev.optgptq.formats.natives;

import java.io.IOException;
import java.io.InputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Another JVM, of the same Java and the same classes, for native code that may crash, hang or use up all memory. It
 * reads its work from standard input, which stays open as long as its parent lives: see {@link #requests}.
 */
public final class ChildJava {

    private static final int PIECE_BYTES = 1 << 16;
    /** The shell's way to say "ended by a signal", which Java follows. */
    private static final int SIGNAL = 128;

    private ChildJava() {}

    /**
     * A process that runs a main class, to be started.
     *
     * @param heapBytes limit of its heap
     * @param properties system properties of this JVM to pass on, if set
     */
    public static ProcessBuilder of(Class<?> main, long heapBytes, List<String> properties, List<String> arguments) {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx" + (heapBytes >> 20) + "m",
                "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto",
                // A crash is an expected result here: no report in the current folder, no core dump.
                "-XX:+SuppressFatalErrorMessage", "-XX:-CreateCoredumpOnCrash", "--enable-native-access=ALL-UNNAMED"));
        for (String property : properties) {
            String value = System.getProperty(property);
            if (value != null) {
                command.add("-D" + property + "=" + value);
            }
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(arguments);
        return new ProcessBuilder(command);
    }

    /**
     * In the child: its requests. The end of standard input ends this process at once, even while native code runs: the
     * parent has closed it, or is gone, and then the system closes it.
     *
     * @param end ends the process at once
     */
    public static InputStream requests(Runnable end) throws IOException {
        PipedOutputStream passedOn = new PipedOutputStream();
        PipedInputStream requests = new PipedInputStream(passedOn, PIECE_BYTES);
        Thread.ofPlatform().daemon().name("ends with the parent").start(() -> {
            try {
                byte[] piece = new byte[PIECE_BYTES];
                for (int read = System.in.read(piece); read >= 0; read = System.in.read(piece)) {
                    passedOn.write(piece, 0, read);
                    passedOn.flush();
                }
            } catch (IOException broken) {
                // As at the end: nobody can ask any more.
            }
            end.run();
        });
        return requests;
    }

    /** An exit code as text: "signal 11" or "exit code 1". */
    public static String describeExit(int exit) {
        return exit > SIGNAL ? "signal " + (exit - SIGNAL) : "exit code " + exit;
    }
}
