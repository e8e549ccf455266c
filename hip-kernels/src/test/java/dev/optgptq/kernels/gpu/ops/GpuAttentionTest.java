package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.GpuDevice;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention of halves where a matrix library multiplies: scores and weights in memory, for some queries at a time. */
class GpuAttentionTest {

    private static final long SEED = 3;
    private static final int SEQUENCES = 2;

    /** Lengths below and above the 512 queries of a product, no multiples of the alignment; with groups, windows, ALiBi. */
    @ParameterizedTest
    @CsvSource({"33, 2, 2, 16, 0, false", "21, 4, 2, 8, 0, true", "37, 4, 1, 8, 0, false", "70, 2, 2, 8, 9, false",
            "517, 2, 1, 4, 0, true", "531, 1, 1, 4, 40, false"})
    void products_of_a_library_give_what_the_definition_does(int length, int heads, int kvHeads, int headDim,
            int window,
            boolean alibi) {
        AttentionShape shape = new AttentionShape(length, heads, kvHeads, headDim, 0.4f, window);
        try (Device reference = Devices.open("reference", 1);
                Emulator emulator = Emulator.open(64);
                Device device = emulator.device(TileProducts::new)) {
            float[] expected = attention(reference, reference.neural()::attention, shape, alibi);
            GpuContext context = ((GpuDevice) device).context();
            GpuBlas products = Objects.requireNonNull(context.blas());
            float[] actual = attention(device,
                    (q, k, v, slopes, of, out) -> new AttentionProducts(context, products, q, k, v, slopes, of, out)
                            .run(),
                    shape, alibi);
            for (int i = 0; i < expected.length; i++) {
                int at = i;
                // The weights are rounded to bfloat16: half a unit in its last place of values up to 1.
                assertEquals(expected[i], actual[i], 0x1p-8, () -> shape + ", element " + at + ", seed " + SEED);
            }
        }
    }

    private static float[] attention(Device device, MatrixUnitAttention.Plain attention, AttentionShape shape,
            boolean alibi) {
        int rows = SEQUENCES * shape.sequenceLength();
        int width = shape.heads() * shape.headDim();
        int kvWidth = shape.kvHeads() * shape.headDim();
        try (TensorArena arena = device.arena()) {
            SplittableRandom random = new SplittableRandom(SEED);
            // One buffer, as the forward pass has it.
            float[] values = new float[rows * (width + 2 * kvWidth)];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextDouble(-1, 1);
            }
            Tensor all = arena.matrix(DType.BF16, rows, width + 2L * kvWidth);
            device.neural().convert(
                    arena.load(MemorySegment.ofArray(values), DType.F32, rows, width + 2L * kvWidth), all);
            Tensor slopes = arena.matrix(DType.F32, 1, shape.heads());
            device.matrix().fill(slopes, 0.25f);
            Tensor out = arena.matrix(DType.F32, rows, width);
            attention.run(all.columns(0, width), all.columns(width, kvWidth),
                    all.columns(width + kvWidth, kvWidth), alibi ? slopes : null, shape, out);
            float[] result = new float[rows * width];
            device.download(out, MemorySegment.ofArray(result));
            return result;
        }
    }
}
