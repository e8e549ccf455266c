package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.testing.ModelLogits;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every family is quantized at 4 bits, written, read back, and still predicts nearly what it did. */
class FamilyQuantizeTest {

    private static final int GROUP = 32;
    /** In nats; random weights of 32 columns lose more than trained ones of thousands. A row in the wrong place costs more. */
    private static final double LARGEST_DIVERGENCE = 0.25;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    static Stream<String> fixtures() throws IOException {
        Path shared = Path.of("").toAbsolutePath();
        while (shared != null && !Files.isDirectory(shared.resolve("shared/fixtures"))) {
            shared = shared.getParent();
        }
        if (shared == null) {
            return Stream.of("no folder 'shared'");
        }
        try (Stream<Path> all = Files.list(shared.resolve("shared/fixtures"))) {
            return all.filter(Files::isDirectory).filter(FamilyQuantizeTest::isKnown).map(Path::toString).sorted()
                    .toList()
                    .stream();
        }
    }

    private static boolean isKnown(Path fixture) {
        try (ModelDirectory directory = ModelDirectory.open(fixture)) {
            ModelSpec.resolve(directory);
            return true;
        } catch (RuntimeException e) {
            return false;
        }
    }

    private static boolean packs(LinearSpec linear) {
        return linear.inputs() % GROUP == 0 && linear.outputs() % GROUP == 0;
    }

    @ParameterizedTest
    @MethodSource("fixtures")
    void aQuantizedModelPredictsNearlyWhatTheOriginalDoes(String fixture, TestReporter reporter) {
        assumeTrue(Files.isDirectory(Path.of(fixture)), fixture);
        try (Device device = Devices.open("cpu", 2); ModelDirectory source = ModelDirectory.open(Path.of(fixture))) {
            ModelSpec spec = ModelSpec.resolve(source);
            assumeTrue(spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                    .allMatch(FamilyQuantizeTest::packs), "packed weights come in words of 32 rows and columns");
            TokenSequences ids = InputIds.read(Path.of(fixture).resolve("golden.safetensors"), spec.vocabSize());
            assumeTrue(ids.length() <= spec.maxPositions(), "longer than the model's positions");
            TinyRun run = new TinyRun(Path.of(fixture), folder);
            run.groupSize = GROUP;
            run.samples = ids.count();
            run.sequenceLength = ids.length();
            QuantizeRun.measure(run.settings(), source, ids, DeviceGroup.of(device), TinyRun.ORIGIN, Progress.SILENT,
                    line -> {});
            try (ModelDirectory written = ModelDirectory.open(run.output)) {
                spec.blockSpecs().forEach(block -> block.linears()
                        .forEach(linear -> assertTrue(written.packed(linear.module()).isPresent(), linear.module())));
                double divergence = divergence(spec, ModelLogits.of(source, ids, device),
                        ModelLogits.of(written, ids, device));
                reporter.publishEntry(fixture, "KL divergence " + divergence);
                assertTrue(divergence < LARGEST_DIVERGENCE, () -> "KL divergence " + divergence);
            }
            assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        }
    }

    /** Mean over tokens of KL(original || quantized), in nats. */
    private static double divergence(ModelSpec spec, float[] original, float[] quantized) {
        int vocabulary = spec.vocabSize();
        double sum = 0;
        for (int row = 0; row < original.length; row += vocabulary) {
            double p = logSum(original, row, vocabulary);
            double q = logSum(quantized, row, vocabulary);
            for (int i = row; i < row + vocabulary; i++) {
                sum += Math.exp(original[i] - p) * ((original[i] - p) - (quantized[i] - q));
            }
        }
        return sum * vocabulary / original.length;
    }

    private static double logSum(float[] logits, int from, int count) {
        double most = Double.NEGATIVE_INFINITY;
        for (int i = from; i < from + count; i++) {
            most = Math.max(most, logits[i]);
        }
        double sum = 0;
        for (int i = from; i < from + count; i++) {
            sum += Math.exp(logits[i] - most);
        }
        return most + Math.log(sum);
    }
}
