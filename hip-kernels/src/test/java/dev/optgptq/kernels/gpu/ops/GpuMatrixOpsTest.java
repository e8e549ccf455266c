package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** How ops split their work where a matrix library is found. */
class GpuMatrixOpsTest {

    private static final long SEED = 5;
    /** Wider than one strip of GpuGram. */
    private static final int N = 1100;
    private static final int ROWS = 3;

    private static float[] values(int count) {
        SplittableRandom random = new SplittableRandom(SEED);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.nextInt(-8, 9) / 8f; // sums of their products are exact
        }
        return values;
    }

    /** h, at first full of 2, after h += x^T x / 2. */
    private static float[] gram(Device device) {
        try (TensorArena arena = device.arena()) {
            Tensor x = arena.load(MemorySegment.ofArray(values(ROWS * N)), DType.F32, ROWS, N);
            Tensor h = arena.matrix(DType.F32, N, N);
            device.matrix().fill(h, 2);
            device.matrix().accumulateGram(0.5f, x, h);
            float[] result = new float[N * N];
            device.download(h, MemorySegment.ofArray(result));
            return result;
        }
    }

    /** y, at first full of 2, after y = x w^T + bias + y / 2. */
    private static float[] linear(Device device) {
        try (TensorArena arena = device.arena()) {
            Tensor x = arena.load(MemorySegment.ofArray(values(5 * 7)), DType.F32, 5, 7);
            Tensor w = arena.load(MemorySegment.ofArray(values(9 * 7)), DType.F32, 9, 7);
            Tensor bias = arena.load(MemorySegment.ofArray(values(9)), DType.F32, 1, 9);
            Tensor y = arena.matrix(DType.F32, 5, 9);
            device.matrix().fill(y, 2);
            device.matrix().linear(x, w, bias, 0.5f, y);
            float[] result = new float[5 * 9];
            device.download(y, MemorySegment.ofArray(result));
            return result;
        }
    }

    private static void assertSame(float[] expected, float[] actual, int columns) {
        for (int i = 0; i < expected.length; i++) {
            int at = i;
            assertEquals(expected[i], actual[i],
                    () -> "element (" + at / columns + ", " + at % columns + "), seed " + SEED);
        }
    }

    @Test
    void a_gram_matrix_in_strips_of_library_products_leaves_the_lower_triangle_alone() {
        try (Device reference = Devices.open("reference", 1);
                Emulator emulator = Emulator.open(64);
                Device device = emulator.device(TileProducts::new)) {
            assertSame(gram(reference), gram(device), N);
        }
    }

    @Test
    void a_linear_layer_adds_its_bias_once_to_a_library_product() {
        try (Device reference = Devices.open("reference", 1);
                Emulator emulator = Emulator.open(64);
                Device device = emulator.device(TileProducts::new)) {
            assertSame(linear(reference), linear(device), 9);
        }
    }

    @Test
    void an_indefinite_system_is_found_in_its_last_block() {
        int n = 70;
        double[] a = new double[n * n];
        for (int i = 0; i < n; i++) {
            a[i * n + i] = i < n - 1 ? 1 : -1;
        }
        try (Emulator emulator = Emulator.open(64);
                Device device = emulator.device();
                TensorArena arena = device.arena()) {
            Tensor system = arena.load(MemorySegment.ofArray(a), DType.F64, n, n);
            assertFalse(device.float64().solve(system, arena.matrix(DType.F64, n, 1)));
        }
    }

    /** Numbers that need all 24 bits: a part that is lost shows. */
    @Test
    void weights_of_16_bits_multiply_all_digits_of_float32_inputs() {
        float[] x = {1 + 0x1p-23f, -3.1415927f, 0x1.fffffep-3f};
        try (Device reference = Devices.open("reference", 1);
                Emulator emulator = Emulator.open(64);
                Device device = emulator.device(TileProducts::new)) {
            for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
                assertSame(products(reference, x, dtype), products(device, x, dtype), 1);
            }
        }
    }

    /** Each number times a weight of its own dtype: a single product, which is exact before it is rounded. */
    private static float[] products(Device device, float[] x, DType dtype) {
        try (TensorArena arena = device.arena()) {
            Tensor numbers = arena.load(MemorySegment.ofArray(x), DType.F32, x.length, 1);
            Tensor weight = arena.matrix(dtype, 1, 1);
            device.neural().convert(arena.load(MemorySegment.ofArray(new float[] {0.5f}), DType.F32, 1, 1), weight);
            Tensor y = arena.matrix(DType.F32, x.length, 1);
            device.matrix().linear(numbers, weight, null, 0, y);
            float[] result = new float[x.length];
            device.download(y, MemorySegment.ofArray(result));
            return result;
        }
    }
}
