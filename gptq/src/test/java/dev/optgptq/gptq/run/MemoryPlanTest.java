package dev.optgptq.gptq.run;

import static dev.optgptq.gptq.testing.Failures.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.model.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A run says beforehand what it will need (rule 5), and then needs no more. */
class MemoryPlanTest {

    private static final long PLENTY = 1L << 40;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** Short sequences make solving the peak, long ones the forward pass. */
    @ParameterizedTest
    @CsvSource({"LLAMA, GPTQ, STATIC, 32, 2, 32, false", "LLAMA, GPTQ, NONE, 2, 2, 32, false",
            "LLAMA, GPTQ, GROUP, -1, 2, 32, false", "LLAMA, GPTQ, STATIC, 128, 16, 128, false",
            "LLAMA, GPTQ, STATIC, 32, 2, 32, true", "LLAMA, RTN, STATIC, 32, 2, 32, false",
            "LLAMA, RTN, STATIC, 4, 2, 32, true", "MPT, GPTQ, GROUP, 32, 2, 32, false",
            "MPT, GPTQ, NONE, 64, 16, 128, true", "LLAMA, GRADIENT, STATIC, 32, 2, 32, false",
            "MPT, GRADIENT, GROUP, 32, 16, 128, false", "LLAMA, GRADIENT, NONE, 32, 16, 128, true"})
    void the_plan_covers_what_the_run_allocates_and_little_more(TinyModel.Family family, CalibratorKind calibrator,
            ActOrder actOrder, int groupSize, int samples, int sequenceLength, boolean evaluate) {
        TinyRun run = new TinyRun(TinyModel.of(family).write(folder.resolve("model")), folder);
        run.calibrator = calibrator;
        run.actOrder = actOrder;
        run.groupSize = groupSize;
        run.samples = samples;
        run.sequenceLength = sequenceLength;
        run.evaluate = evaluate;
        MemoryPlan plan = plan(run, PLENTY);

        try (Device device = Devices.open("cpu", 2)) {
            RunReport report = run.run(device);

            long peak = device.peakMemory();
            assertEquals(peak, report.memory().peakDevice());
            assertTrue(peak <= plan.device(), peak + " bytes on the device, planned " + plan.device());
            assertTrue(plan.device() <= 1.5 * peak, plan.device() + " bytes planned, used " + peak);
            assertTrue(report.memory().planned() > plan.device(), "the process itself needs memory too");
        }
    }

    @Test
    void a_residual_stream_that_is_too_large_for_memory_is_planned_for_a_file() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.samples = 16;
        run.sequenceLength = 128;
        long stream = 16L * 128 * TinyModel.HIDDEN * 4;

        assertEquals(stream, plan(run, 4 * stream).activations());
        assertEquals(0, plan(run, 4 * stream).spilled());
        assertEquals(0, plan(run, 4 * stream - 4).activations());
        assertEquals(stream, plan(run, 4 * stream - 4).spilled());
    }

    @Test
    void too_little_memory_is_refused_with_what_is_needed_for_what() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.evaluate = true;
        MemoryPlan plan = plan(run, PLENTY);

        plan.require(plan.total());

        assertRefused(Code.MEMORY, () -> plan.require(plan.total() - 1), (plan.total() >> 20) + " MiB of memory",
                "Hessians", "evaluating", "are free");
    }

    private static MemoryPlan plan(TinyRun run, long available) {
        QuantizeSettings settings = run.settings();
        try (ModelDirectory directory = ModelDirectory.open(settings.model())) {
            ModelSpec spec = ModelSpec.resolve(directory.config());
            return MemoryPlan.of(spec, settings.groupSize(), RunTexts.read(settings, spec),
                    settings.calibrator() == CalibratorKind.GRADIENT, available);
        }
    }
}
