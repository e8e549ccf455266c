package dev.optgptq.cli.console;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.stream.Stream;

/** Memory of this process that is not backed by a file (Linux; mapped weights can be dropped and don't count). */
final class ProcessMemory {

    private static final Path STATUS = Path.of("/proc/self/status");
    private static final String KEY = "RssAnon:";

    private ProcessMemory() {}

    /** In bytes; empty where the system does not tell. */
    static OptionalLong anonymous() {
        try (Stream<String> lines = Files.lines(STATUS)) {
            return lines.filter(line -> line.startsWith(KEY)).mapToLong(ProcessMemory::bytes).findFirst();
        } catch (IOException ignored) {
            return OptionalLong.empty(); // not Linux: the display leaves memory out
        }
    }

    /** "RssAnon:   123456 kB" */
    private static long bytes(String line) {
        return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
    }
}
