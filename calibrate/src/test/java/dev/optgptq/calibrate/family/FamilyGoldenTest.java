package dev.optgptq.calibrate.family;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.gradient.ParameterGradients;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Golden;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Every family computes what PyTorch computes: logits, the loss, and the gradient of every parameter. */
class FamilyGoldenTest {

    /** Gradients that are zero but for rounding: softmax does not see what is added to all keys. */
    private static final double NOTHING = 1e-6;
    /** Whose logits are those of a model that was cast in memory, which rounds rotary frequencies (ADR 3). */
    private static final Set<String> CAST = Set.of("llama-mha", "llama-gqa-rope-llama3", "mistral-sliding-window",
            "qwen2", "qwen3");

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    static Stream<Arguments> fixtures() {
        return FamilyFixtures.all()
                .flatMap(fixture -> Stream.of(Arguments.of(fixture, "reference"), Arguments.of(fixture, "cpu")));
    }

    @ParameterizedTest
    @MethodSource("fixtures")
    void logitsAndGradientsAreThoseThatPyTorchComputes(String fixture, String deviceName) {
        Path directory = SharedFiles.require("fixtures/" + fixture);
        Path logits = folder.resolve("logits");
        Path gradients = folder.resolve("gradients");
        try (Device device = Devices.open(deviceName, 2); ModelDirectory model = ModelDirectory.open(directory)) {
            ModelSpec spec = ModelSpec.resolve(model);
            assertEquals(List.of(), spec.remarks(), "nothing in config.json is ignored");
            Transformer transformer = Transformer.open(model, spec, device);
            TokenSequences ids = InputIds.read(directory.resolve("golden.safetensors"), spec.vocabSize());
            Transformer asCast = CAST.contains(fixture)
                    ? Transformer.open(model, ModelSpec.resolveAsCast(model), device)
                    : transformer;
            Logits.write(asCast, ids, logits, Progress.SILENT);
            ParameterGradients.write(transformer, ids, gradients, Progress.SILENT);
            assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        }
        assertClose("logits", Golden.read(directory.resolve("golden.safetensors")), Golden.read(logits));
        Map<String, float[]> golden = Golden.read(directory.resolve("golden-gradients.safetensors"));
        if (fixture.equals("gpt-neox")) {
            // Under the name that transformers 5 has for it in memory.
            golden.put("embed_out.weight", Objects.requireNonNull(golden.remove("lm_head.weight")));
        }
        Map<String, float[]> found = Golden.read(gradients);
        assertEquals(golden.keySet(), found.keySet());
        golden.keySet().forEach(name -> assertClose(name, golden, found));
    }

    private static void assertClose(String name, Map<String, float[]> golden, Map<String, float[]> found) {
        Golden.assertClose(name, Objects.requireNonNull(golden.get(name)), Objects.requireNonNull(found.get(name)),
                NOTHING);
    }
}
