package dev.optgptq.cli.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What ends a run from outside, and that the same command then resumes. */
@EnabledOnOs(OS.LINUX)
class InterruptTest {

    private static final int INTERRUPTED = 130;
    private static final int KILLED = 137;
    private static final long SIGINT_MASK = 1 << 1;
    private static final Set<String> REPORTS = Set.of("report.json", "report.html");

    @TempDir
    Path directory;

    @Test
    void an_interrupted_run_and_a_killed_one_keep_their_blocks_and_the_same_command_gives_the_files_of_an_undisturbed_one()
            throws Exception {
        assumeFalse(ignoresInterrupts(), "this process ignores SIGINT, and so would its children");
        Path results = Files.createDirectories(directory.resolve("results"));
        Path temporary = Files.createDirectories(directory.resolve("tmp"));

        String interrupted = stop(results, 1, "INT", INTERRUPTED);
        assertEquals(List.of(".w4.partial"), Models.names(results));
        assertTrue(interrupted.contains("opt-gptq: interrupted"), interrupted);
        assertTrue(interrupted.contains(" of 4 blocks, ") && interrupted.contains("run the same command to resume"),
                interrupted);
        assertEquals(List.of(), Models.names(temporary), "activations");

        String killed = stop(results, 2, "KILL", KILLED);
        assertEquals(List.of(".w4.partial"), Models.names(results));
        assertTrue(killed.contains("resuming after block "), killed);

        CommandRun last = CommandRun.of(command(results.resolve("w4"))).succeeds();
        last.says("resuming after block ", " of 4 (same settings, started ");
        assertEquals(List.of("w4"), Models.names(results));

        CommandRun.of(command(results.resolve("undisturbed"))).succeeds();
        assertEquals(files(results.resolve("undisturbed")), files(results.resolve("w4")));
    }

    /** Runs the command until that many blocks are finished, and gives what it said. */
    private String stop(Path results, int blocks, String signal, int exitCode) throws Exception {
        Path err = directory.resolve("err" + signal);
        Installation installed = Installation.in(directory.resolve(signal)).withVariablesOfOpenBlas()
                .with("OPT_GPTQ_JAVA_HOME", Installation.jdk()).with("HOME", System.getProperty("user.home"))
                .with("OPT_GPTQ_JAVA_OPTS", "-Djava.io.tmpdir=" + directory.resolve("tmp"));
        Process run = installed.start(installed.script(), directory.resolve("out"), err,
                Stream.of(command(results.resolve("w4"))).map(Object::toString).toArray(String[]::new));
        try {
            Path block = results.resolve(".w4.partial").resolve("block-0000" + (blocks - 1) + ".json");
            while (!Files.exists(block)) {
                assertTrue(run.isAlive(), () -> "ended before it could be stopped: " + read(err));
                Thread.sleep(5);
            }
            new ProcessBuilder("sh", "-c", "kill -" + signal + " " + run.pid()).start().waitFor();
            assertTrue(run.waitFor(1, TimeUnit.MINUTES), "still running");
        } finally {
            run.destroyForcibly();
        }
        assertEquals(exitCode, run.exitValue(), read(err));
        return read(err);
    }

    /** The last two blocks take long enough to be stopped in. */
    private static Object[] command(Path output) {
        return new Object[] {"quantize", Models.llama(), "--output", output, "--eval", "none", "--device", "cpu",
                "--samples", 32, "--sequence-length", 128};
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** The contents of all files but the reports, which hold times. */
    private static Map<String, String> files(Path output) throws IOException {
        Map<String, String> contents = new TreeMap<>();
        for (String name : Models.names(output)) {
            if (!REPORTS.contains(name)) {
                contents.put(name, Files.readString(output.resolve(name), StandardCharsets.ISO_8859_1));
            }
        }
        return contents;
    }

    private static boolean ignoresInterrupts() throws IOException {
        String mask = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("SigIgn:")).findFirst().orElseThrow().replaceAll("SigIgn:\\s*", "");
        return (Long.parseUnsignedLong(mask, 16) & SIGINT_MASK) != 0;
    }
}
