package dev.optgptq.gptq.run.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.TinyRun;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyMixture;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a mixture needs: an expert and the activations, however many experts there are. */
class ExpertsMemoryTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"GPTQ, 1", "GPTQ, 16", "GRADIENT, 1", "GRADIENT, 4", "GRADIENT, 16"})
    void the_plan_covers_what_a_mixture_allocates_and_little_more(CalibratorKind calibrator, int atOnce) {
        Measured found = run(16, calibrator, atOnce);

        assertTrue(found.peak <= found.planned, found::toString);
        assertTrue(found.planned <= 1.5 * found.peak, found::toString);
    }

    /** Four times the experts add what a router has of each token, no weight, no Hessian and no code. */
    @ParameterizedTest
    @CsvSource({"GPTQ", "GRADIENT"})
    void peak_memory_does_not_grow_with_the_number_of_experts(CalibratorKind calibrator) {
        Measured four = run(4, calibrator, 1);
        Measured sixteen = run(16, calibrator, 1);

        long expert = 3L * TinyMixture.WIDTH * TinyMixture.WIDTH * Float.BYTES;
        assertTrue(sixteen.peak - four.peak < expert, four + " and " + sixteen);
    }

    @Test
    void all_experts_that_fit_come_in_one_pass() {
        assertEquals(run(4, CalibratorKind.GRADIENT, 4), run(4, CalibratorKind.GRADIENT, null));
    }

    /** Bytes on the device. */
    private record Measured(long peak, long planned) {}

    private Measured run(int experts, CalibratorKind calibrator, @Nullable Integer atOnce) {
        Path model = folder.resolve("model-" + experts);
        TinyRun run = new TinyRun(Files.exists(model) ? model : new TinyMixture(experts).write(model), folder);
        run.calibrator = calibrator;
        run.samples = 8;
        run.sequenceLength = 32;
        run.expertsAtOnce = atOnce;
        run.overwrite = true;
        run.fresh = true;
        MemoryPlan plan = MemoryPlanTest.plan(run, 1L << 40);
        try (Device device = Devices.open("cpu", 2)) {
            RunReport report = run.run(device);
            assertEquals(device.peakMemory(), report.memory().peakDevice());
            return new Measured(device.peakMemory(), plan.device());
        }
    }
}
