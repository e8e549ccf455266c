package dev.optgptq.calibrate.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A model with an fp16/bf16 matmul dtype: rounded inputs and weights, float32 everywhere else. */
class HalfMatmulTest {

    private static final int LENGTH = 8;

    private final Device device = TestDevices.reference();

    @AfterEach
    void close() {
        device.close();
    }

    /** One rounding of 2^-9 (bfloat16) or 2^-12 (float16) at each input, and of weights that are stored otherwise. */
    @ParameterizedTest
    @CsvSource({"llama-gqa-rope-llama3, BF16, 0.02", "llama-gqa-rope-llama3, F16, 0.0025", "mpt, BF16, 0.02",
            "mpt, F16, 0.0025"})
    void aBlockComputesWhatItDoesInFloat32UpToTheRoundingOfItsInputs(String fixture, DType half, double tolerance) {
        float[] exact = runBlock(fixture, DType.F32, InputTap.NONE);

        float[] rounded = runBlock(fixture, half, InputTap.NONE);

        double difference = 0;
        double size = 0;
        for (int i = 0; i < exact.length; i++) {
            difference += Math.pow(rounded[i] - exact[i], 2);
            size += Math.pow(exact[i], 2);
        }
        double relative = Math.sqrt(difference / size);
        assertTrue(relative <= tolerance, () -> fixture + ", " + half + ": off by " + relative);
        assertTrue(relative > 0, "fp16/bf16 cannot give the bits of float32");
    }

    @ParameterizedTest
    @ValueSource(strings = {"F16", "BF16"})
    void theTapSeesWhatTheLinearsMultiply(DType half) {
        List<DType> seen = new ArrayList<>();
        runBlock(Fixture.LLAMA, half, (site, x, tokens) -> seen.add(x.dtype()));
        assertEquals(List.of(half, half, half, half), seen);
    }

    /** Also where nothing is normalised before attention, and where attention and MLP run side by side. */
    @ParameterizedTest
    @MethodSource("dev.optgptq.calibrate.family.FamilyFixtures#all")
    void theTapSeesTheMatmulDtypeInEveryBlockOfEveryFamily(String fixture) {
        Path path = SharedFiles.require("fixtures/" + fixture);
        try (Device cpu = Devices.open("cpu", 2); ModelDirectory directory = ModelDirectory.open(path)) {
            Transformer model = Transformer.open(directory, ModelSpec.resolve(directory), cpu)
                    .withProducts(DType.BF16);
            for (int block = 0; block < model.spec().blocks(); block++) {
                try (TensorArena arena = cpu.arena()) {
                    Tensor x = arena.matrix(DType.F32, LENGTH, model.spec().hiddenSize());
                    cpu.matrix().fill(x, 1);
                    Map<InputSite, DType> seen = new LinkedHashMap<>();
                    model.forward(model.loadBlock(block, arena), x, model.workspace(arena, LENGTH, LENGTH),
                            (site, input, tokens) -> {
                                seen.put(site, input.dtype());
                                return true;
                            });
                    assertTrue(seen.size() >= 4, seen::toString);
                    assertEquals(Set.of(DType.BF16), Set.copyOf(seen.values()), seen::toString);
                }
            }
        }
    }

    @Test
    void weightsStoredInTheDtypeOfTheProductsAreExact() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            LinearSpec linear = model.spec().linears(0).getFirst();
            DType stored = directory.tensor(linear.module() + ".weight").dtype();
            BlockWeights exact = model.loadBlock(0, arena);
            BlockWeights halves = model.withProducts(stored).loadBlock(0, arena);

            assertEquals(stored, halves.weight(linear).dtype());
            Tensor widened = arena.matrix(DType.F32, linear.outputs(), linear.inputs());
            device.neural().convert(halves.weight(linear), widened);
            assertArrayEquals(TestDevices.download(device, exact.weight(linear)),
                    TestDevices.download(device, widened));
        }
    }

    @Test
    void aRewrittenWeightIsEditedInFloat32AndKeptRounded() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device).withProducts(DType.BF16);
            LinearSpec linear = model.spec().linears(0).getFirst();
            BlockWeights block = model.loadBlock(0, arena);
            float written = 1.001f;

            String said = block.rewrite(device, linear, weight -> {
                assertEquals(DType.F32, weight.dtype());
                device.matrix().fill(weight, written);
                return "done";
            });

            assertEquals("done", said);
            Tensor widened = arena.matrix(DType.F32, linear.outputs(), linear.inputs());
            device.neural().convert(block.weight(linear), widened);
            assertEquals(Floats.fromBF16(Floats.toBF16(written)), TestDevices.download(device, widened)[0]);
        }
    }

    @Test
    void theBuffersAreAsLargeAsPlanned() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device).withProducts(DType.BF16);
            long before = device.memoryInUse();
            model.workspace(arena, 2 * LENGTH, LENGTH);
            assertEquals(ModelMemory.workspaceBytes(model.spec(), DType.BF16, 2 * LENGTH, LENGTH),
                    device.memoryInUse() - before);
            long buffers = device.memoryInUse();
            model.loadBlock(0, arena);
            assertEquals(ModelMemory.blockBytes(model.spec(), DType.BF16), device.memoryInUse() - buffers);
        }
    }

    private float[] runBlock(String fixture, DType products, InputTap tap) {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device).withProducts(products);
            float[] values = new float[LENGTH * model.spec().hiddenSize()];
            Random random = new Random(11);
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            Tensor x = TestDevices.upload(device, arena, LENGTH, values);
            model.forward(model.loadBlock(0, arena), x, model.workspace(arena, LENGTH, LENGTH), tap);
            return TestDevices.download(device, x);
        }
    }
}
