package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Windows that are spread over devices, here CPU devices. */
class SeveralDevicesTest {

    /** Four to a batch: there are five batches, and the last one holds a single window. */
    private static final int WINDOWS = 17;
    private static final int LENGTH = 512;
    private static final int VOCABULARY = 128;

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 7})
    void eachEvaluatesSomeWindowsAndAllTogetherWhatOneWould(int devices) {
        double[] alone = on(1, models -> Perplexity.evaluate(models, text(), Progress.SILENT)).windowNll();

        assertArrayEquals(alone,
                on(devices, models -> Perplexity.evaluate(models, text(), Progress.SILENT)).windowNll());
    }

    @Test
    void twoModelsAreComparedAlike() {
        ModelComparison alone = on(1, models -> ModelComparison.evaluate(models, models, text(), Progress.SILENT));
        ModelComparison shared = on(2, models -> ModelComparison.evaluate(models, models, text(), Progress.SILENT));

        assertArrayEquals(alone.candidate().windowNll(), shared.candidate().windowNll());
        assertArrayEquals(alone.baseline().windowNll(), shared.baseline().windowNll());
        assertEquals(alone.divergence(), shared.divergence());
    }

    @Test
    void progressRisesToItsEnd() {
        List<Long> seen = new ArrayList<>();
        long[] total = {0};

        on(2, models -> Perplexity.evaluate(models, text(), (phase, done, all) -> {
            seen.add(done);
            total[0] = all;
        }));

        assertEquals(seen.stream().sorted().toList(), seen);
        assertEquals(total[0], seen.getLast());
        assertTrue(total[0] > 0);
    }

    @Test
    void theModelsDeviceIsTheFirstOfThem() {
        try (Device one = Devices.open("cpu", 1);
                Device other = Devices.open("cpu", 1);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Transformer model = Transformer.open(directory, one);
            assertThrows(IllegalArgumentException.class, () -> Replicas.of(model, List.of(other, one)));
        }
    }

    private static TokenSequences text() {
        return new TokenSequences(new Random(3).ints((long) WINDOWS * LENGTH, 0, VOCABULARY).toArray(), WINDOWS,
                LENGTH);
    }

    private static <T> T on(int devices, Function<Replicas, T> use) {
        List<Device> opened = new ArrayList<>();
        for (int i = 0; i < devices; i++) {
            opened.add(Devices.open("cpu", 1));
        }
        try (DeviceGroup group = new DeviceGroup(opened);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            return use.apply(Replicas.of(Transformer.open(directory, group.first()), group.devices()));
        }
    }
}
