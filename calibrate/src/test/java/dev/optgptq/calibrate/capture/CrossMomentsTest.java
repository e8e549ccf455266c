package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class CrossMomentsTest {

    private static final int TOKENS = 10;
    private static final InputSite SITE = InputSite.MLP_INPUT;
    private static final ModelSpec SPEC = ModelSpec
            .resolve(ModelConfig.read(Fixture.directory(Fixture.LLAMA).resolve("config.json")));

    @Test
    void sumsTheProductsOfQuantizedWithOriginalInputsOverBatches() {
        float[] original = random(1);
        float[] quantized = random(2);

        float[] cross = cross(original, quantized);

        for (int i = 0; i < 64; i++) {
            for (int j = 0; j < 64; j++) {
                double expected = 0;
                for (int t = 0; t < TOKENS; t++) {
                    expected += 2.0 / TOKENS * quantized[t * 64 + i] * original[t * 64 + j];
                }
                assertEquals(expected, cross[i * 64 + j], 1e-5, i + ", " + j);
            }
        }
    }

    @Test
    void ofInputsThatAreAsTheyWereItIsTheHessian() {
        float[] x = random(3);
        float[] hessian;
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(SITE), TOKENS)) {
            hessians.begin(Shard.whole(TOKENS));
            hessians.at(SITE, TestDevices.upload(device, arena, TOKENS, x));
            hessian = TestDevices.download(device, hessians.hessian(SITE));
        }

        assertArrayEquals(hessian, cross(x, x), 1e-5f);
    }

    @Test
    void takesTheMemoryThatItSaysAndGivesItBack() {
        try (Device device = TestDevices.reference()) {
            CrossMoments moments = new CrossMoments(device, SPEC.block(0), Set.of(SITE, InputSite.MLP_OUTPUT), 7,
                    TOKENS);
            assertEquals(CrossMoments.bytes(SPEC.block(0), Set.of(SITE, InputSite.MLP_OUTPUT), 7, 1),
                    device.memoryInUse());
            moments.close();
            assertEquals(0, device.memoryInUse());
        }
    }

    @Test
    void aSiteThatWasNotAskedForIsRefused() {
        try (Device device = TestDevices.reference();
                CrossMoments moments = new CrossMoments(device, SPEC.block(0), Set.of(SITE), 7, TOKENS)) {
            assertThrows(IllegalArgumentException.class, () -> moments.cross(InputSite.MLP_OUTPUT));
        }
    }

    @Test
    void severalDevicesGiveTheBitsOfOne() {
        float[] original = random(1);
        float[] quantized = random(2);

        assertArrayEquals(spread(original, quantized, 1), spread(original, quantized, 2));
    }

    /** In five parts of two tokens. */
    private static float[] spread(float[] original, float[] quantized, int count) {
        Partition partition = Partition.of(TOKENS, 0, 2, 5, count);
        List<Device> devices = new ArrayList<>();
        List<CrossMoments> moments = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Device device = TestDevices.reference();
            CrossMoments sums = new CrossMoments(device, SPEC.block(0), Set.of(SITE), 2, TOKENS);
            TensorArena arena = device.arena();
            Tensor x = TestDevices.upload(device, arena, TOKENS, original);
            Tensor changed = TestDevices.upload(device, arena, TOKENS, quantized);
            for (Shard part : partition.summed(i)) {
                sums.begin(part);
                sums.original(SITE, x.rows(part.first(), part.rows()));
                sums.quantized(SITE, changed.rows(part.first(), part.rows()));
            }
            devices.add(device);
            moments.add(sums);
        }
        moments.stream().skip(1).forEach(moments.getFirst()::absorb);
        float[] cross = TestDevices.download(devices.getFirst(), moments.getFirst().cross(SITE));
        devices.forEach(Device::close);
        return cross;
    }

    /** In batches of 7 and 3 tokens. */
    private static float[] cross(float[] original, float[] quantized) {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                CrossMoments moments = new CrossMoments(device, SPEC.block(0), Set.of(SITE), 7, TOKENS)) {
            Tensor x = TestDevices.upload(device, arena, TOKENS, original);
            Tensor changed = TestDevices.upload(device, arena, TOKENS, quantized);
            moments.begin(Shard.whole(TOKENS));
            for (int first = 0; first < TOKENS; first += 7) {
                int count = Math.min(7, TOKENS - first);
                moments.original(SITE, x.rows(first, count));
                moments.quantized(SITE, changed.rows(first, count));
            }
            return TestDevices.download(device, moments.cross(SITE));
        }
    }

    private static float[] random(long seed) {
        Random random = new Random(seed);
        float[] values = new float[TOKENS * 64];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
