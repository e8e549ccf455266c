package dev.optgptq.calibrate.family;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.gradient.ParameterGradients;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.Golden;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What FamilyGoldenTest says of all families, of two mixtures of experts where no folder is shared; and what is theirs alone. */
class ExpertsGoldenTest {

    /** Softmax routing, renormalised; and sigmoid routing with a correction, a shared expert and a dense first block. */
    private static final String MIXTRAL = "mixtral";
    private static final String GLM = "glm4-moe";

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"mixtral, reference", "mixtral, cpu", "glm4-moe, reference", "glm4-moe, cpu"})
    void logitsAndGradientsAreThoseOfTransformers(String fixture, String device) {
        assertGolden(Fixture.directory(fixture), device);
    }

    @ParameterizedTest
    @ValueSource(strings = {MIXTRAL, GLM})
    void soAreThoseOfTheKernelsOfGpus(String fixture) {
        try (EmulatedGpu gpu = EmulatedGpu.open()) {
            assertGolden(Fixture.directory(fixture), gpu.device().name());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {MIXTRAL, GLM})
    void theBitsDoNotDependOnTheNumberOfThreads(String fixture) {
        Map<String, float[]> single = Golden.read(write(Fixture.directory(fixture), "cpu", 1).gradients());
        Map<String, float[]> several = Golden.read(write(Fixture.directory(fixture), "cpu", 3).gradients());
        single.forEach((name, expected) -> assertArrayEquals(expected, several.get(name), name));
    }

    /** One token goes through 2 of 4 experts: the other two have nothing to do. */
    @Test
    void expertsWithoutTokensTakeNoPart() {
        Path directory = Fixture.directory(MIXTRAL);
        Path logits = folder.resolve("one");
        float[] golden = Fixture.goldenLogits(MIXTRAL);
        try (Device device = Devices.open("cpu", 1); ModelDirectory model = ModelDirectory.open(directory)) {
            Transformer transformer = Transformer.open(model, device);
            int vocabulary = transformer.spec().vocabSize();
            TokenSequences ids = InputIds.read(Fixture.golden(MIXTRAL), vocabulary);
            Logits.write(transformer, new TokenSequences(new int[] {ids.ids()[0]}, 1, 1), logits, Progress.SILENT);
            float[] first = Arrays.copyOf(golden, vocabulary);
            Golden.assertClose("logits of the first token", first,
                    Golden.read(logits).getOrDefault("logits", new float[0]));
        }
    }

    private record Written(Path logits, Path gradients) {}

    private Written write(Path directory, String deviceName, int threads) {
        Written written = new Written(folder.resolve("logits" + threads), folder.resolve("gradients" + threads));
        try (Device device = Devices.open(deviceName, threads); ModelDirectory model = ModelDirectory.open(directory)) {
            ModelSpec spec = ModelSpec.resolve(model);
            assertEquals(List.of(), spec.remarks(), "nothing in config.json is ignored");
            Transformer transformer = Transformer.open(model, spec, device);
            TokenSequences ids = InputIds.read(directory.resolve("golden.safetensors"), spec.vocabSize());
            Logits.write(transformer, ids, written.logits(), Progress.SILENT);
            ParameterGradients.write(transformer, ids, written.gradients(), Progress.SILENT);
            assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        }
        return written;
    }

    private void assertGolden(Path directory, String device) {
        Written written = write(directory, device, 2);
        Golden.assertClose("logits",
                Golden.read(directory.resolve("golden.safetensors")).getOrDefault("logits", new float[0]),
                Golden.read(written.logits()).getOrDefault("logits", new float[0]));
        Golden.assertClose(Golden.read(directory.resolve("golden-gradients.safetensors")),
                Golden.read(written.gradients()));
    }
}
