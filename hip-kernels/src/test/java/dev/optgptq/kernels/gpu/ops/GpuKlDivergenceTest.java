package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import dev.optgptq.kernels.gpu.GpuDevice;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The gradient's kernel, which a device without the other backward ops has all the same. */
class GpuKlDivergenceTest {

    private static final long SEED = 7;
    private static final int ROWS = 3;
    private static final float[] WEIGHTS = {0.5f, 0, 2};

    /** Calls klGradient, or its kernel. */
    @FunctionalInterface
    private interface Gradient {
        void run(Tensor teacher, Tensor student, Tensor weights);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 255, 256, 257, 1000})
    void the_kernel_gives_the_references_gradient(int vocabulary) {
        try (Device reference = Devices.open("reference", 1);
                Emulator emulator = Emulator.open(64);
                GpuDevice device = emulator.device()) {
            float[] expected = gradient(reference, vocabulary, reference.gradient()::klGradient);
            float[] found = gradient(device, vocabulary, (teacher, student, weights) -> GpuKlDivergence
                    .gradient(device.context(), teacher, student, weights));
            assertArrayEquals(expected, found, 1e-6f, () -> "vocabulary " + vocabulary + ", seed " + SEED);
        }
    }

    private static float[] gradient(Device device, int vocabulary, Gradient op) {
        try (TensorArena arena = device.arena()) {
            SplittableRandom random = new SplittableRandom(SEED);
            Tensor teacher = arena.load(logits(random, vocabulary), DType.F32, ROWS, vocabulary);
            Tensor student = arena.matrix(DType.F32, ROWS, vocabulary);
            device.upload(logits(random, vocabulary), student);
            op.run(teacher, student, arena.load(MemorySegment.ofArray(WEIGHTS), DType.F32, 1, ROWS));
            float[] result = new float[ROWS * vocabulary];
            device.download(student, MemorySegment.ofArray(result));
            return result;
        }
    }

    private static MemorySegment logits(SplittableRandom random, int vocabulary) {
        float[] values = new float[ROWS * vocabulary];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (2 * random.nextGaussian());
        }
        return MemorySegment.ofArray(values);
    }
}
