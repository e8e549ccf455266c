package dev.optgptq.calibrate.gradient;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.Golden;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ParameterGradientsTest {

    /** One sequence of each fixture: 48 tokens of hidden 64 at the input of every block and after the last. */
    private static final long ONE_SEQUENCE = 3L * 48 * 64 * Float.BYTES;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** These golden models kept float32 rotary frequencies, unlike those of the golden logits (ADR 3). */
    @ParameterizedTest
    @CsvSource({"llama-mha, reference", "llama-mha, cpu", "llama-gqa-rope-llama3, reference",
            "llama-gqa-rope-llama3, cpu", "mpt, reference", "mpt, cpu"})
    void writesTheLossAndTheGradientsThatPyTorchComputesForEveryParameter(String fixture, String device) {
        assertGolden(fixture, write(fixture, device, 2, GradientStream.Limits.DEFAULT));
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama-mha", "llama-gqa-rope-llama3", "mpt"})
    void theKernelsOfGpusGiveTheGradientsThatPyTorchComputes(String fixture) {
        try (EmulatedGpu gpu = EmulatedGpu.open()) {
            assertGolden(fixture, write(fixture, gpu.device(), "hip", GradientStream.Limits.DEFAULT));
        }
    }

    @ParameterizedTest
    @CsvSource({"llama-gqa-rope-llama3", "mpt"})
    void groupsOfOneSequenceGiveTheSameGradientsAsAllAtOnce(String fixture) {
        Map<String, float[]> together = Golden.read(write(fixture, "cpu", 1, GradientStream.Limits.DEFAULT));
        Map<String, float[]> apart = Golden.read(
                write(fixture, "cpu", 1, new GradientStream.Limits(48, ONE_SEQUENCE, 4096, 0, 0)));
        together.forEach(
                (name, expected) -> Golden.assertClose(name, expected, apart.getOrDefault(name, new float[0])));
    }

    @ParameterizedTest
    @CsvSource({"llama-gqa-rope-llama3", "mpt"})
    void theBitsDoNotDependOnTheNumberOfThreads(String fixture) {
        Map<String, float[]> single = Golden.read(write(fixture, "cpu", 1, GradientStream.Limits.DEFAULT));
        Map<String, float[]> several = Golden.read(write(fixture, "cpu", 3, GradientStream.Limits.DEFAULT));
        single.forEach((name, expected) -> assertArrayEquals(expected, several.get(name), name));
    }

    @Test
    void sequencesWithoutAPredictionAreRefused() {
        try (Device device = Devices.open("reference", 1);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.MPT))) {
            Transformer model = Transformer.open(directory, device);
            TokenSequences single = new TokenSequences(new int[] {1, 2}, 2, 1);
            assertUserError(UserError.Code.BAD_SETTING,
                    () -> ParameterGradients.write(model, single, folder.resolve("out"), Progress.SILENT),
                    "1 tokens hold no prediction");
        }
    }

    private Path write(String fixture, String deviceName, int threads, GradientStream.Limits limits) {
        try (Device device = Devices.open(deviceName, threads)) {
            return write(fixture, device, deviceName + threads, limits);
        }
    }

    private Path write(String fixture, Device device, String name, GradientStream.Limits limits) {
        Path output = folder.resolve(name + limits.batchTokens() + ".safetensors");
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture))) {
            Transformer model = Transformer.open(directory, ModelSpec.resolve(directory.config()), device);
            TokenSequences ids = InputIds.read(Fixture.golden(fixture), model.spec().vocabSize());
            ParameterGradients.write(model, ids, output, Progress.SILENT, limits);
            assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        }
        return output;
    }

    private static void assertGolden(String fixture, Path written) {
        Golden.assertClose(Golden.read(Fixture.goldenGradients(fixture)), Golden.read(written));
    }
}
