package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.bench.BenchReport.Entry;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** A device measured at the shape of a model. What it says of time is not tested; that it ran everything is. */
class BenchTest {

    private static final ModelShape TINY = ModelShape.of("tiny");
    private final List<String> log = new ArrayList<>();

    @Test
    void every_op_of_a_block_and_every_phase_of_the_job_is_measured_on_a_processor() {
        try (DeviceGroup device = Devices.openGroup("cpu", 2)) {
            BenchReport report = run(TINY, device, Precision.AUTO);

            assertEquals("F32", report.products());
            assertMeasured(report, Set.of("rmsNorm", "rotary", "attention", "linear", "activateGated", "accumulateGram",
                    "inverseFactor", "transpose", "gatherRows", "solveBlock", "gemm", "dot", "packCodes"));
        }
    }

    @Test
    void on_a_gpu_halves_pass_through_the_same_kernels_as_a_model_of_a_real_size() {
        try (EmulatedGpu gpu = EmulatedGpu.open()) {
            BenchReport report = run(TINY, gpu.devices(), Precision.HALF);

            assertEquals("BF16", report.products());
            assertMeasured(report, Set.of("rmsNorm", "convert", "rotary", "attention", "linear", "activateGated",
                    "accumulateGram", "inverseFactor", "transpose", "gatherRows", "solveBlock", "gemm", "dot",
                    "packCodes"));
            assertTrue(log.stream().anyMatch(line -> line.contains("activations between blocks there")), log::toString);
            assertTrue(log.stream().anyMatch(line -> line.contains("our own kernel")), log::toString);
        }
    }

    @Test
    void kernels_are_compiled_by_a_job_before_the_one_that_is_measured(@TempDir Path folder) throws IOException {
        try (DeviceGroup device = Devices.openGroup("cpu", 2);
                InputStream tiny = ModelShape.class.getResourceAsStream("shapes/tiny.json")) {
            Path config = folder.resolve("config.json");
            Files.copy(Objects.requireNonNull(tiny), config);

            BenchReport report = run(ModelShape.of(config.toString()), device, Precision.AUTO);

            assertEquals(config.toString(), report.shape());
            assertTrue(log.getFirst().startsWith("warming up"), log::toString);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny", "tinyllama", "llama-7b"})
    void the_shapes_that_come_along_are_models(String name) {
        ModelShape shape = ModelShape.of(name);
        assertEquals("llama", shape.spec().family());
        assertFalse(shape.spec().linears(0).isEmpty());
    }

    @Test
    void the_largest_shape_is_that_of_llama_2_7b() {
        ModelShape shape = ModelShape.of("llama-7b");
        long linears = shape.spec().linears(0).stream().mapToLong(linear -> (long) linear.inputs() * linear.outputs())
                .sum();
        assertEquals(6_476_005_376L, linears * shape.spec().blocks());
    }

    private BenchReport run(ModelShape shape, DeviceGroup device, Precision precision) {
        return new Bench(shape, device, CalibratorKind.GPTQ, precision, 2, 64).run(
                new Origin("opt-gptq", "9.9.9", List.of()),
                Progress.SILENT, log::add);
    }

    private static void assertMeasured(BenchReport report, Set<String> ops) {
        assertEquals(ops, report.ops().stream().map(Entry::name).collect(Collectors.toSet()));
        assertTrue(report.job().stream().map(Entry::name).collect(Collectors.toSet())
                .containsAll(Set.of("load", "forward", "hessian", "solve", "write", "verify")), report::toString);
        for (Entry entry : report.ops()) {
            assertTrue(entry.seconds() > 0 && entry.limit() > 0, entry::toString);
        }
        assertTrue(report.memory().peakDevice() > 0, report::toString);
    }
}
