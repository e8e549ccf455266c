package dev.optgptq.cli.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Ctrl-C in the middle of a run. */
@EnabledOnOs(OS.LINUX)
class InterruptTest {

    private static final int INTERRUPTED = 130;
    private static final long SIGINT_MASK = 1 << 1;

    @TempDir
    Path directory;

    @Test
    void an_interrupted_run_leaves_nothing_and_says_so() throws Exception {
        assumeFalse(ignoresInterrupts(), "this process ignores SIGINT, and so would its children");
        Path results = Files.createDirectories(directory.resolve("results"));
        Path temporary = Files.createDirectories(directory.resolve("tmp"));
        Path err = directory.resolve("err");
        Installation installed = Installation.in(directory).with("OPT_GPTQ_JAVA_HOME", Installation.jdk())
                .with("HOME", System.getProperty("user.home"))
                .with("OPT_GPTQ_JAVA_OPTS", "-Djava.io.tmpdir=" + temporary);
        Process run = installed.start(installed.script(), directory.resolve("out"), err, "quantize",
                Models.llama().toString(), "--output", results.resolve("w4").toString(), "--eval", "none");
        try {
            waitForOutput(run, results, err);
            new ProcessBuilder("sh", "-c", "kill -INT " + run.pid()).start().waitFor();
            assertTrue(run.waitFor(1, TimeUnit.MINUTES), "still running");
        } finally {
            run.destroyForcibly();
        }
        String said = Files.readString(err);
        assertEquals(INTERRUPTED, run.exitValue(), said);
        assertTrue(said.contains("interrupted; what was unfinished is removed"), said);
        assertEquals(List.of(), Models.names(results));
        assertEquals(List.of(), Models.names(temporary));
    }

    /** Until the run has begun to write. */
    private static void waitForOutput(Process run, Path results, Path err) throws IOException, InterruptedException {
        while (Models.names(results).isEmpty()) {
            assertTrue(run.isAlive(), () -> "ended before it could be interrupted: " + err);
            Thread.sleep(20);
        }
    }

    private static boolean ignoresInterrupts() throws IOException {
        String mask = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("SigIgn:")).findFirst().orElseThrow().replaceAll("SigIgn:\\s*", "");
        return (Long.parseUnsignedLong(mask, 16) & SIGINT_MASK) != 0;
    }
}
