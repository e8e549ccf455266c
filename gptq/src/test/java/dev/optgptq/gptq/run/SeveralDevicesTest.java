package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What several emulated GPUs make of a calibration that they share. */
class SeveralDevicesTest {

    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({"GPTQ, FLOAT32, false", "GPTQ, HALF, true", "RTN, AUTO, false"})
    void two_devices_write_the_files_that_one_does(CalibratorKind calibrator, Precision precision,
            boolean trueSequential) {
        TinyRun one = run("one", calibrator, precision, trueSequential);
        TinyRun two = run("two", calibrator, precision, trueSequential);

        Map<String, Double> work;
        try (EmulatedGpu gpu = EmulatedGpu.open("hip:0")) {
            work = work(one.run(gpu.devices()));
        }
        try (EmulatedGpu gpus = EmulatedGpu.open("hip:all")) {
            assertSameWork(work, work(two.run(gpus.devices())));
            if (calibrator != CalibratorKind.RTN) {
                Device second = gpus.devices().devices().get(1);
                assertTrue(second.peakMemory() > 0, "the second device has had something to do");
                assertEquals(0, second.memoryInUse());
            }
        }

        assertEquals(Checksums.of(one.output), Checksums.of(two.output));
    }

    /** Gradient calibration; learning over the whole model runs on the first device, what it learns from comes from both. */
    @Test
    void two_devices_learn_the_scales_and_norms_that_one_does() {
        Path model = TinyModel.MPT_WITH_BIASES.withOwnHead().narrow().write(folder.resolve("model"));
        TinyRun one = learning("one", model);
        TinyRun two = learning("two", model);

        Map<String, Double> work;
        try (EmulatedGpu gpu = EmulatedGpu.open("hip:0")) {
            RunReport report = one.run(gpu.devices());
            work = work(report);
            Ablation.Step whole = Objects.requireNonNull(report.ablation()).steps().getLast();
            assertEquals("tuned scales and norms", whole.name());
            assertTrue(whole.kept(), whole::toString);
        }
        try (EmulatedGpu gpus = EmulatedGpu.open("hip:all")) {
            assertSameWork(work, work(two.run(gpus.devices())));
            Device second = gpus.devices().devices().get(1);
            assertTrue(second.peakMemory() > 0, "the second device has had something to do");
            assertEquals(0, second.memoryInUse());
        }

        assertEquals(Checksums.of(one.output), Checksums.of(two.output));
    }

    private static void assertSameWork(Map<String, Double> expected, Map<String, Double> found) {
        found.forEach((phase, flops) -> assertEquals(expected.getOrDefault(phase, 0.0), flops, 1e-9 * flops,
                "what is counted for " + phase));
    }

    private TinyRun learning(String output, Path model) {
        TinyRun run = new TinyRun(model, folder);
        run.output = folder.resolve(output);
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(true, new NextToken(), true, 2, 0).tuningNorms(true);
        run.samples = 9;
        run.sequenceLength = 16;
        return run;
    }

    /** A cluster gives what it has free: the next job may get more devices or fewer. */
    @Test
    void two_devices_go_on_with_what_one_has_begun() {
        TinyRun undisturbed = run("undisturbed", CalibratorKind.GPTQ, Precision.AUTO, false);
        TinyRun run = run("run", CalibratorKind.GPTQ, Precision.AUTO, false);
        try (EmulatedGpu gpu = EmulatedGpu.open("hip:0")) {
            undisturbed.run(gpu.devices());
            run.progress = (phase, done, total) -> {
                if (phase.startsWith("block 2/2: solve")) {
                    throw new CancellationException(phase);
                }
            };
            assertThrows(CancellationException.class, () -> run.run(gpu.devices()));
            assertEquals(0, gpu.devices().first().memoryInUse(), "what was packed is freed");
        }
        run.progress = Progress.SILENT;

        try (EmulatedGpu gpus = EmulatedGpu.open("hip:0,1")) {
            assertEquals(1, run.run(gpus.devices()).resumed().blocks());
        }
        assertEquals(Checksums.of(undisturbed.output), Checksums.of(run.output));
    }

    @Test
    void the_report_and_the_log_tell_of_all_of_them() {
        TinyRun run = run("run", CalibratorKind.GPTQ, Precision.AUTO, false);
        try (EmulatedGpu gpus = EmulatedGpu.open("hip:1,0")) {
            assertEquals("hip:1, hip:0", run.run(gpus.devices()).machine().device());
        }
        assertTrue(run.log.stream().anyMatch(line -> line.contains("8 parts for 2 devices")), run.log::toString);
    }

    private static Map<String, Double> work(RunReport report) {
        return report.phases().stream().collect(Collectors.toMap(RunReport.Phase::name, RunReport.Phase::flops));
    }

    private TinyRun run(String output, CalibratorKind calibrator, Precision precision, boolean trueSequential) {
        Path model = folder.resolve("model");
        TinyRun run = new TinyRun(Files.exists(model) ? model : TinyModel.LLAMA.narrow().write(model), folder);
        run.output = folder.resolve(output);
        run.calibrator = calibrator;
        run.precision = precision;
        run.trueSequential = trueSequential;
        run.samples = 9;
        run.sequenceLength = 16;
        return run;
    }
}
