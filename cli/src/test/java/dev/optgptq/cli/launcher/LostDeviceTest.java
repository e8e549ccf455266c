package dev.optgptq.cli.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.cli.testing.Models;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** A kernel that fails in the middle of a run, on the emulator that the tests of hip-kernels build. */
@EnabledOnOs(OS.LINUX)
class LostDeviceTest {

    private static final Path EMULATOR = Models.root().resolve("hip-kernels/target/emulator/libhip-emulator-64.so");

    /** Launches of kernels: in the first block, in the second or third, and more than there are. */
    private static final int EARLY = 200;
    private static final int LATE = 1000;
    private static final int NEVER = 0;

    @TempDir
    Path directory;

    @Test
    void the_command_ends_with_the_failure_that_came_first_and_leaves_nothing() throws Exception {
        assumeTrue(Files.exists(EMULATOR), "the emulator is not built; the tests of hip-kernels build it where g++ is");
        Path results = Files.createDirectories(directory.resolve("results"));

        String said = quantize(results.resolve("w4"), EARLY, 1);

        List<String> failures = said.lines().filter(line -> line.contains("lost")).toList();
        assertEquals(1, failures.size(), said);
        assertTrue(failures.getFirst().contains("hip:0 is lost: hip: "), said);
        assertTrue(failures.getFirst().contains("issued to it: "), said);
        assertFalse(said.contains("Exception"), said);
        assertTrue(Files.readString(directory.resolve("out")).contains("\"DEVICE_LOST\""), said);
        assertEquals(List.of(), Models.names(results));
    }

    @Test
    void a_device_that_is_lost_later_leaves_the_finished_blocks_and_the_same_command_goes_on() throws Exception {
        assumeTrue(Files.exists(EMULATOR), "the emulator is not built; the tests of hip-kernels build it where g++ is");
        Path results = Files.createDirectories(directory.resolve("results"));

        String lost = quantize(results.resolve("w4"), LATE, 1);
        assertTrue(lost.contains("hip:0 is lost: hip: "), lost);
        assertTrue(lost.contains(" of 4 blocks, ") && lost.contains("run the same command to resume"), lost);
        assertEquals(List.of(".w4.partial"), Models.names(results));

        String resumed = quantize(results.resolve("w4"), NEVER, 0);

        assertTrue(resumed.contains("resuming after block "), resumed);
        assertEquals(List.of("w4"), Models.names(results));
    }

    /** What the command says on the emulator, which loses its device at that launch of a kernel. */
    private String quantize(Path output, int lostAt, int exitCode) throws Exception {
        Path err = directory.resolve("err");
        Installation installed = Installation.in(directory).with("OPT_GPTQ_JAVA_HOME", Installation.jdk())
                .with("HOME", System.getProperty("user.home")).with("PATH", System.getenv("PATH"))
                .with("OPT_GPTQ_HIP_LIB", EMULATOR).with("OPT_GPTQ_ROCBLAS_LIB", "none")
                .with("OPT_GPTQ_EMULATOR_LOST_AT", lostAt);
        Process run = installed.start(installed.script(), directory.resolve("out"), err, "quantize",
                Models.llama().toString(), "--device", "hip", "--calibrator", "gptq", "--samples", "1",
                "--sequence-length", "64", "--eval",
                "none", "--json", "--output", output.toString());
        try {
            assertTrue(run.waitFor(2, TimeUnit.MINUTES), "still running");
        } finally {
            run.destroyForcibly();
        }
        assertEquals(exitCode, run.exitValue(), Files.readString(err));
        return Files.readString(err);
    }
}
