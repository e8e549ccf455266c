package dev.optgptq.calibrate.model;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients through blocks whose linears multiply in bfloat16, beside those in float32, which the golden tests check. */
class HalfGradientTest {

    private static final int LENGTH = 8;

    /** Not where experts are chosen: those of a token may be others after rounding. */
    @ParameterizedTest
    @MethodSource("dev.optgptq.calibrate.family.FamilyFixtures#all")
    void they_differ_by_the_rounding_of_factors(String fixture) {
        Path path = SharedFiles.require("fixtures/" + fixture);
        try (Device cpu = Devices.open("cpu", 2); ModelDirectory directory = ModelDirectory.open(path)) {
            Transformer model = Transformer.open(directory, ModelSpec.resolve(directory), cpu);
            List<Integer> dense = IntStream.range(0, model.spec().blocks()).boxed()
                    .filter(block -> model.spec().block(block).feedForward() instanceof FeedForward.Dense).toList();
            assumeFalse(dense.isEmpty(), "a mixture of experts in every block");
            for (int block : dense) {
                Map<String, float[]> exact = gradients(model, block);
                Map<String, float[]> half = gradients(model.withProducts(DType.BF16), block);
                double largest = exact.values().stream().mapToDouble(HalfGradientTest::length).max().orElseThrow();
                exact.forEach((name, values) -> {
                    // Keys' biases have none where scores do not depend on positions.
                    double off = length(difference(values, Objects.requireNonNull(half.get(name))))
                            / Math.max(length(values), 1e-2 * largest);
                    assertTrue(off < 0.06, () -> "block " + block + ", " + name + ": off by " + off);
                });
                assertFalse(Arrays.equals(exact.get("input"), half.get("input")), "products were rounded");
            }
        }
    }

    /** Of half the sum of the output's squares, for the input and all parameters. */
    private static Map<String, float[]> gradients(Transformer model, int index) {
        Device device = model.device();
        int hidden = model.spec().hiddenSize();
        try (TensorArena arena = device.arena()) {
            BlockWeights block = model.loadBlock(index, arena);
            Random random = new Random(3);
            float[] values = new float[2 * LENGTH * hidden];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            Tensor x = arena.matrix(DType.F32, 2 * LENGTH, hidden);
            Tensor y = arena.matrix(DType.F32, 2 * LENGTH, hidden);
            Tensor row = HostVectors.upload(device, arena, values);
            for (int i = 0; i < 2 * LENGTH; i++) {
                device.matrix().copy(row.columns((long) i * hidden, hidden), x.rows(i, 1));
            }
            BlockWeights sums = model.backward().zeroGradients(block, arena);
            model.backward().forwardBackward(block, x, y, model.backward().workspace(arena, 2 * LENGTH, LENGTH),
                    out -> {}, sums);
            Map<String, float[]> found = new LinkedHashMap<>();
            found.put("input", HostVectors.floats(device, y));
            model.parameters().all(sums)
                    .forEach((place, tensor) -> found.put(place.tensor() + " " + place.index(),
                            HostVectors.floats(device, tensor)));
            return found;
        }
    }

    private static float[] difference(float[] exact, float[] found) {
        float[] difference = new float[exact.length];
        for (int i = 0; i < exact.length; i++) {
            difference[i] = found[i] - exact[i];
        }
        return difference;
    }

    private static double length(float[] values) {
        double squares = 0;
        for (float value : values) {
            squares += (double) value * value;
        }
        return Math.sqrt(squares);
    }
}
