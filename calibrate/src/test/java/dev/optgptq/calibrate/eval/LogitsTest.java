package dev.optgptq.calibrate.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogitsTest {

    /** The project's promise: errors relative to the largest logit. */
    private static final double TOLERANCE = 1e-4;

    @ParameterizedTest
    @CsvSource({"llama-mha, reference", "llama-mha, cpu", "llama-gqa-rope-llama3, reference",
            "llama-gqa-rope-llama3, cpu", "mpt, reference", "mpt, cpu"})
    void writesTheLogitsThatTransformersComputes(String fixture, String deviceName, @TempDir Path folder) {
        Path output = folder.resolve("logits.safetensors");
        try (Device device = Devices.open(deviceName, 2);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture))) {
            Transformer model = Transformer.open(directory, ModelSpec.resolveAsCast(directory), device);
            TokenSequences ids = InputIds.read(Fixture.golden(fixture), model.spec().vocabSize());
            Logits.write(model, ids, output, Progress.SILENT);
            assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        }
        float[] golden = Fixture.goldenLogits(fixture);
        try (SafetensorsFile written = SafetensorsFile.open(output)) {
            TensorView logits = Objects.requireNonNull(written.tensors().get("logits"));
            assertEquals(Shape.of(2, 48, 320), logits.shape());
            assertClose(golden, Fixture.floats(logits));
        }
    }

    private static void assertClose(float[] golden, float[] found) {
        double largest = 0;
        double worst = 0;
        for (int i = 0; i < golden.length; i++) {
            largest = Math.max(largest, Math.abs(golden[i]));
            // NaN stays NaN here, and is not below the tolerance.
            worst = Math.max(worst, Math.abs(found[i] - golden[i]));
        }
        double relative = worst / largest;
        assertTrue(relative < TOLERANCE, () -> "largest difference / largest logit = " + relative);
    }
}
