package dev.optgptq.calibrate.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HessianAccumulatorTest {

    private static final int TOKENS = 10;
    private static final ModelSpec SPEC = ModelSpec
            .resolve(ModelConfig.read(Fixture.directory(Fixture.LLAMA).resolve("config.json")));

    @Test
    void sumsTwiceTheOuterProductsOverTheNumberOfTokens() {
        float[] x = random(TOKENS * 64);
        float[] h;
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                        TOKENS)) {
            hessians.begin(Shard.whole(TOKENS));
            Tensor all = TestDevices.upload(device, arena, TOKENS, x);
            hessians.at(InputSite.MLP_INPUT, all.rows(0, 7));
            hessians.at(InputSite.MLP_INPUT, all.rows(7, 3));
            assertEquals(TOKENS, hessians.tokens(InputSite.MLP_INPUT));
            h = TestDevices.download(device, hessians.hessian(InputSite.MLP_INPUT));
        }
        for (int i = 0; i < 64; i++) {
            for (int j = 0; j < 64; j++) {
                double expected = 0;
                for (int t = 0; t < TOKENS; t++) {
                    expected += 2.0 / TOKENS * x[t * 64 + i] * x[t * 64 + j];
                }
                assertEquals(expected, h[i * 64 + j], 1e-5, i + ", " + j);
            }
        }
    }

    @Test
    void aTokenCountsByItsWeight() {
        float[] x = random(TOKENS * 64);
        float[] factors = new float[TOKENS];
        for (int t = 0; t < TOKENS; t++) {
            factors[t] = (float) Math.sqrt(t % 3);
        }
        float[] h;
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                        TOKENS)) {
            hessians.weigh(InputSite.MLP_INPUT, TestDevices.upload(device, arena, 1, factors));
            hessians.begin(Shard.whole(TOKENS));
            Tensor all = TestDevices.upload(device, arena, TOKENS, x);
            hessians.at(InputSite.MLP_INPUT, all.rows(0, 7));
            hessians.at(InputSite.MLP_INPUT, all.rows(7, 3));
            h = TestDevices.download(device, hessians.hessian(InputSite.MLP_INPUT));
        }
        for (int i = 0; i < 64; i++) {
            for (int j = 0; j < 64; j++) {
                double expected = 0;
                for (int t = 0; t < TOKENS; t++) {
                    expected += 2.0 / TOKENS * (t % 3) * x[t * 64 + i] * x[t * 64 + j];
                }
                assertEquals(expected, h[i * 64 + j], 1e-5, i + ", " + j);
            }
        }
    }

    @Test
    void halvesAreWeighedInFloat32AndRoundedOnce() {
        float[] x = {1, 3};
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                        2)) {
            hessians.weigh(InputSite.MLP_INPUT, TestDevices.upload(device, arena, 1, 1, (float) Math.sqrt(2)));
            Tensor halves = arena.matrix(DType.BF16, 2, 64);
            float[] rows = new float[2 * 64];
            rows[0] = x[0];
            rows[64] = x[1];
            device.neural().convert(TestDevices.upload(device, arena, 2, rows), halves);

            hessians.begin(Shard.whole(2));
            hessians.at(InputSite.MLP_INPUT, halves);

            float rounded = 4.25f; // 3 sqrt(2) = 4.2426 in bfloat16
            assertEquals(x[0] * x[0] + rounded * rounded,
                    TestDevices.download(device, hessians.hessian(InputSite.MLP_INPUT))[0]);
        }
    }

    @Test
    void weightsOfAnotherNumberOfTokensAreRefused() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                        TOKENS)) {
            Tensor nine = zeros(device, arena, TOKENS - 1);
            assertThrows(IllegalStateException.class, () -> hessians.weigh(InputSite.MLP_INPUT, nine));
        }
    }

    @Test
    void eachSiteHasTheWidthOfItsInputsAndTheLastOneStopsTheForwardPass() {
        try (Device device = TestDevices.reference(); TensorArena arena = device.arena()) {
            Set<InputSite> sites = Set.of(InputSite.ATTENTION_INPUT, InputSite.MLP_OUTPUT);
            try (HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), sites, 1)) {
                hessians.begin(Shard.whole(1));
                assertTrue(hessians.at(InputSite.ATTENTION_INPUT, zeros(device, arena, 64)));
                assertTrue(hessians.at(InputSite.ATTENTION_OUTPUT, zeros(device, arena, 64)), "not asked for, passes");
                assertFalse(hessians.at(InputSite.MLP_OUTPUT, zeros(device, arena, 160)));
                assertEquals(160, hessians.hessian(InputSite.MLP_OUTPUT).rows());
                assertThrows(IllegalArgumentException.class, () -> hessians.hessian(InputSite.ATTENTION_OUTPUT));
            }
        }
    }

    @Test
    void aHessianOfTooFewOrTooManyTokensIsNotGiven() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                        1)) {
            assertThrows(IllegalStateException.class, () -> hessians.hessian(InputSite.MLP_INPUT));
            hessians.begin(Shard.whole(1));
            hessians.at(InputSite.MLP_INPUT, zeros(device, arena, 64));
            assertThrows(IllegalStateException.class,
                    () -> hessians.at(InputSite.MLP_INPUT, zeros(device, arena, 64)));
        }
    }

    @Test
    void aPartIsNotGivenUpBeforeAllItsTokensHavePassed() {
        try (Device device = TestDevices.reference();
                TensorArena arena = device.arena();
                HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                        4)) {
            hessians.begin(new Shard(0, 0, 2));
            hessians.at(InputSite.MLP_INPUT, zeros(device, arena, 64));
            assertThrows(IllegalStateException.class, () -> hessians.begin(new Shard(1, 2, 2)));
        }
    }

    /** Of rows that are weighed, since the weights of a device's tokens begin somewhere in the middle. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5})
    void severalDevicesGiveTheBitsOfOne(int devices) {
        Partition alone = Partition.of(TOKENS, 0, 2, 5, 1);
        float[] x = random(TOKENS * 64);

        float[] h = spread(x, Partition.of(TOKENS, 0, 2, 5, devices));

        assertArrayEquals(spread(x, alone), h);
    }

    /** On several CPU devices; parts of two tokens each. */
    private static float[] spread(float[] x, Partition partition) {
        float[] factors = new float[TOKENS];
        for (int t = 0; t < TOKENS; t++) {
            factors[t] = 1 + t;
        }
        List<Device> devices = new ArrayList<>();
        List<HessianAccumulator> hessians = new ArrayList<>();
        for (int i = 0; i < partition.devices(); i++) {
            Device device = TestDevices.reference();
            HessianAccumulator sums = new HessianAccumulator(device, SPEC.block(0), Set.of(InputSite.MLP_INPUT),
                    TOKENS);
            TensorArena arena = device.arena();
            sums.weigh(InputSite.MLP_INPUT, TestDevices.upload(device, arena, 1, factors));
            Tensor all = TestDevices.upload(device, arena, TOKENS, x);
            for (Shard part : partition.summed(i)) {
                sums.begin(part);
                partition.eachBatch(part, (first, count) -> sums.at(InputSite.MLP_INPUT, all.rows(first, count)));
            }
            devices.add(device);
            hessians.add(sums);
        }
        hessians.stream().skip(1).forEach(hessians.getFirst()::absorb);
        float[] h = TestDevices.download(devices.getFirst(), hessians.getFirst().hessian(InputSite.MLP_INPUT));
        devices.forEach(Device::close);
        return h;
    }

    @Test
    void memoryIsFreedSiteBySiteAndAtTheEnd() {
        try (Device device = TestDevices.reference()) {
            Set<InputSite> sites = SPEC.block(0).sites();
            HessianAccumulator hessians = new HessianAccumulator(device, SPEC.block(0), sites, 1);
            long all = device.memoryInUse();
            assertEquals((3L * 64 * 64 + 160 * 160) * Float.BYTES + 5 * Peak.BYTES, all);
            assertEquals(HessianAccumulator.bytes(SPEC.block(0), sites, 1), all);
            hessians.release(InputSite.MLP_OUTPUT);
            assertEquals(3L * 64 * 64 * Float.BYTES + 5 * Peak.BYTES, device.memoryInUse());
            hessians.close();
            assertEquals(0, device.memoryInUse());
        }
    }

    private static Tensor zeros(Device device, TensorArena arena, int columns) {
        Tensor x = arena.matrix(DType.F32, 1, columns);
        device.matrix().fill(x, 0);
        return x;
    }

    private static float[] random(int n) {
        Random random = new Random(3);
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
