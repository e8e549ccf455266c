package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.testing.WrittenCheckpoint;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The output appears complete or not at all, whatever ends a run, and what was finished is kept. */
class InterruptedRunTest {

    private static final Set<String> INPUTS = Set.of("model", "text.txt", "evaluation.txt");

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyRun run;

    @BeforeEach
    void aModel() {
        run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
    }

    @ParameterizedTest
    @ValueSource(strings = {"block 1/2: hessian", "block 1/2: solve", "block 1/2: forward"})
    void a_run_that_is_cancelled_before_anything_is_finished_leaves_nothing(String where) throws IOException {
        cancel(where);

        assertEquals(INPUTS, names(folder));
        assertTrue(run.log.stream().noneMatch(line -> line.contains("saved")), run.log.toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"block 2/2: hessian", "block 2/2: solve", "evaluate"})
    void a_run_that_is_cancelled_later_leaves_what_is_finished_and_no_output(String where) throws IOException {
        run.evaluate = true;

        cancel(where);

        assertEquals(and(INPUTS, ".out.partial"), names(folder));
        assertTrue(!names(folder.resolve(".out.partial")).contains("complete"), "an output that is not complete");
    }

    private void cancel(String where) {
        run.progress = (phase, done, total) -> {
            if (phase.contains(where)) {
                throw new CancellationException(phase);
            }
        };
        try (Device device = Devices.open("cpu", 2)) {
            assertThrows(CancellationException.class, () -> run.run(device));
            assertEquals(0, device.memoryInUse(), "bytes that stayed on the device");
        }
    }

    @Test
    void an_interrupted_thread_ends_its_run_with_nothing_left() throws IOException {
        run.progress = (phase, done, total) -> {
            if (phase.contains("block 1/2: solve")) {
                Thread.currentThread().interrupt();
            }
        };

        UserError error = assertThrows(UserError.class, run::run);

        assertTrue(Thread.interrupted(), "whoever interrupted wants to see it");
        assertTrue(String.valueOf(error.getMessage()).contains("interrupted"), error.getMessage());
        assertEquals(INPUTS, names(folder));
    }

    @Test
    void a_failed_run_keeps_the_output_that_it_would_have_replaced() throws IOException {
        run.run();
        byte[] old = Files.readAllBytes(run.output.resolve("model.safetensors"));
        run.overwrite = true;
        run.bits = 8;
        run.progress = (phase, done, total) -> {
            if (phase.contains("block 2/2: solve")) {
                throw new CancellationException(phase);
            }
        };

        assertThrows(CancellationException.class, run::run);

        assertEquals(and(INPUTS, "out", ".out.partial"), names(folder));
        assertEquals(-1, Arrays.mismatch(old, Files.readAllBytes(run.output.resolve("model.safetensors"))));
    }

    @Test
    void overwriting_replaces_the_whole_output() throws IOException {
        Path tokenizer = folder.resolve("model").resolve("tokenizer.model");
        Files.writeString(tokenizer, "of the old checkpoint");
        run.run();
        assertTrue(names(run.output).contains("tokenizer.model"), names(run.output).toString());
        Files.delete(tokenizer);
        run.overwrite = true;
        run.bits = 8;

        run.run();

        assertEquals(and(INPUTS, "out"), names(folder));
        assertTrue(!names(run.output).contains("tokenizer.model"), names(run.output).toString());
        assertEquals(8, WrittenCheckpoint.read(run.output).json("quantize_config.json").get("bits").asInt());
    }

    @Test
    void an_existing_output_is_refused_before_anything_is_computed() throws IOException {
        run.run();
        run.progress = (phase, done, total) -> {
            throw new AssertionError("computes: " + phase);
        };

        assertUserError(Code.OUTPUT, run::run, run.output.toString(), "--overwrite");
    }

    /** Ctrl-C and kill; kill -9, a crash and a power cut run no hooks and write no last word. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void a_process_that_is_stopped_keeps_its_finished_blocks_and_the_same_run_goes_on(boolean forcibly)
            throws IOException, InterruptedException {
        Process process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp",
                System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                EndlessRun.class.getName(), folder.toString()).redirectErrorStream(true).start();
        StringBuilder said = new StringBuilder();
        try (var lines = process.inputReader()) {
            for (String line = lines.readLine(); line != null && !line.equals("in block 2"); line = lines.readLine()) {
                said.append(line).append('\n');
            }
            assertUserError(Code.OUTPUT, run::run, run.output.toString(), "another run (process " + process.pid());
            // Through its handle, which leaves its output readable.
            assertTrue(forcibly ? process.toHandle().destroyForcibly() : process.toHandle().destroy());
            lines.lines().forEach(line -> said.append(line).append('\n'));
            assertTrue(process.waitFor(30, TimeUnit.SECONDS), "still running");
        } finally {
            process.destroyForcibly();
        }
        assertEquals(and(INPUTS, ".out.partial"), names(folder));
        assertEquals(forcibly, !said.toString().contains("saved 1 of 2 blocks"), said.toString());

        run.run();

        TinyRun undisturbed = new TinyRun(folder.resolve("model"), folder);
        undisturbed.output = folder.resolve("undisturbed");
        undisturbed.run();
        assertEquals(Checksums.of(undisturbed.output), Checksums.of(run.output));
        assertEquals(and(INPUTS, "out", "undisturbed"), names(folder));
    }

    /** A run that never gets out of its second block. */
    static final class EndlessRun {

        private EndlessRun() {}

        public static void main(String[] args) {
            Path folder = Path.of(args[0]);
            TinyRun run = new TinyRun(folder.resolve("model"), folder);
            run.progress = (phase, done, total) -> {
                if (phase.contains("block 2/2: solve")) {
                    run.awaitBlock(0);
                    System.out.println("in block 2");
                    while (true) {
                        LockSupport.park();
                    }
                }
            };
            try (Device device = Devices.open("cpu", 2)) {
                QuantizeRun.run(run.settings(), DeviceGroup.of(device), TinyRun.ORIGIN, run.progress,
                        System.out::println);
            }
        }
    }

    /** Overwriting it would delete the source with the old output. */
    @Test
    void an_output_that_holds_the_model_is_refused_even_to_overwrite() throws IOException {
        Path outer = TinyModel.MPT.write(folder.resolve("outer"));
        Path inner = TinyModel.LLAMA.write(outer.resolve("inner"));
        TinyRun nested = new TinyRun(inner, folder);
        nested.output = outer;
        nested.overwrite = true;

        assertUserError(Code.OUTPUT, nested::run, outer.toString(), "is or holds the model");

        assertTrue(Files.exists(inner.resolve("model.safetensors")), "the source must be untouched");
    }

    /** A disk of 2 MB that fills up while the run computes. Needs the right to mount one. */
    @Test
    void a_disk_that_fills_up_is_named_and_keeps_what_is_finished() throws IOException, InterruptedException {
        Path disk = Files.createDirectory(folder.resolve("disk"));
        Assumptions.assumeTrue(shell("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk.toString()),
                "only root can mount a small disk");
        try {
            run.output = disk.resolve("out");
            run.calibrator = CalibratorKind.GPTQ;
            run.progress = (phase, done, total) -> {
                if (phase.contains("block 2/2: solve")) {
                    run.awaitBlock(0);
                    fill(disk);
                }
            };

            assertUserError(Code.OUTPUT, run::run, "the disk is full");
            assertEquals(Set.of("filler", ".out.partial"), names(disk));
            assertTrue(run.log.getLast().startsWith("saved 1 of 2 blocks"), run.log.toString());
            Files.delete(disk.resolve("filler"));
            run.progress = Progress.SILENT;

            RunReport report = run.run();

            assertEquals(1, report.resumed().blocks());
            assertEquals(Set.of("out"), names(disk));
        } finally {
            assertTrue(shell("umount", disk.toString()), "umount " + disk);
        }
    }

    @Test
    void a_disk_that_is_too_small_is_refused_before_anything_is_written() throws IOException, InterruptedException {
        Path disk = Files.createDirectory(folder.resolve("disk"));
        Assumptions.assumeTrue(shell("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk.toString()),
                "only root can mount a small disk");
        try {
            run.output = disk.resolve("out");

            assertUserError(Code.OUTPUT, run::run, disk.toString(), "of free space");

            assertEquals(Set.of(), names(disk));
        } finally {
            assertTrue(shell("umount", disk.toString()), "umount " + disk);
        }
    }

    private static void fill(Path disk) {
        try (var out = Files.newOutputStream(disk.resolve("filler"))) {
            while (true) {
                out.write(new byte[4096]);
            }
        } catch (IOException full) {
            assertTrue(String.valueOf(full.getMessage()).contains("No space"), full.toString());
        }
    }

    private static boolean shell(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        return process.waitFor(20, TimeUnit.SECONDS) && process.exitValue() == 0;
    }

    private static Set<String> and(Set<String> names, String... more) {
        Set<String> all = new TreeSet<>(names);
        all.addAll(List.of(more));
        return all;
    }

    private static Set<String> names(Path directory) throws IOException {
        Set<String> names = new TreeSet<>();
        try (var files = Files.list(directory)) {
            files.forEach(file -> names.add(String.valueOf(file.getFileName())));
        }
        return names;
    }
}
