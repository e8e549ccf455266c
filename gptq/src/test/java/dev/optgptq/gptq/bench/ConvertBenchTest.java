package dev.optgptq.gptq.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.convert.ConvertReport;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** A conversion measured at the shape of a model. What it says of time is not tested; that it ran everything is. */
class ConvertBenchTest {

    @Test
    void every_phase_of_a_conversion_and_healing_are_measured() {
        try (Device device = Devices.open("cpu", 1)) {
            ConvertBenchReport report = new ConvertBench(ModelShape.of("tiny"), 2, device, 2, 4, 16,
                    new ConvertBench.Heal(2, 2, 16, Precision.AUTO)).run("opt-gptq test", Progress.SILENT, line -> {});

            assertEquals(
                    Set.of("open", "load", "moments", "keys and values", "scores", "values and output",
                            "original stream",
                            "down projection", "converted stream", "journal", "write", "verify"),
                    report.phases().stream().map(ConvertReport.Phase::name).collect(Collectors.toSet()));
            assertEquals(report.seconds(), report.phases().stream().mapToDouble(ConvertReport.Phase::seconds).sum());
            assertEquals(report.seconds(), report.wholeSeconds(), 1e-9);
            ConvertBenchReport.Healing healing = Objects.requireNonNull(report.healing());
            assertTrue(healing.tokensPerSecond() > 0, healing::toString);
            // Two blocks of attention [128 x 4 + 64 x 2] and of an MLP [384 x 3], forward and backward, and the head of 256.
            double linears = 2 * 2 * 128.0 * (128 * 2 + 64 * 2 + 384 * 3);
            double learned = 2 * 2 * 128.0 * (128 * 2 + 64 * 2);
            double attention = 3.5 * 2 * 4 * 128 * (16 + 1) / 2;
            assertEquals(2 * linears + learned + attention + 3 * 2 * 128 * 256.0, healing.operations(), 1);
        }
    }

    @Test
    void of_some_layers_the_others_are_extrapolated() {
        try (Device device = Devices.open("cpu", 1)) {
            ConvertBenchReport report = new ConvertBench(ModelShape.of("tiny"), 1, device, 2, 4, 16,
                    new ConvertBench.Heal(0, 2, 16, Precision.AUTO)).run("opt-gptq test", Progress.SILENT, line -> {});

            double layer = 128.0 * (128 * 2 + 64 * 2 + 384 * 3);
            double head = 2 * 128 * 256.0;
            assertEquals(new ConvertBenchReport.Extent(1, 2, (2 * layer + head) / (layer + head)), report.extent());
            ConvertReport.Phase moments = new ConvertReport.Phase("moments", 3);
            assertEquals(6, report.whole(moments));
            assertEquals(3, report.whole(new ConvertReport.Phase("open", 3)));
            assertEquals(3 * report.extent().checkpoint(), report.whole(new ConvertReport.Phase("write", 3)));
        }
    }
}
