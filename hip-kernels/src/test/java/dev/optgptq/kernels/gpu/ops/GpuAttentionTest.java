package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import dev.optgptq.kernels.gpu.GpuBlas;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.GpuDevice;
import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention in fp16/bf16 by a matrix library: scores and weights in memory, for some queries at a time. */
class GpuAttentionTest {

    private static final long SEED = 3;
    private static final int SEQUENCES = 2;

    /**
     * Lengths below and above the 512 queries of a product, no multiples of the alignment; with groups, windows, ALiBi, caps,
     * sinks and values of another width.
     */
    @ParameterizedTest
    @CsvSource({"33, 2, 2, 16, 16, 0, 0, false, false", "21, 4, 2, 8, 8, 0, 0, true, false",
            "37, 4, 1, 8, 8, 0, 0, false, true", "70, 2, 2, 8, 8, 0, 9, false, false",
            "517, 2, 1, 4, 4, 0, 0, true, true", "531, 1, 1, 4, 4, 0, 40, false, false",
            "35, 4, 4, 12, 8, 0, 0, false, false", "41, 4, 2, 8, 20, 0.5, 17, true, true"})
    void products_of_a_library_give_what_the_definition_does(int length, int heads, int kvHeads, int headDim,
            int valueDim, float softcap, int window, boolean alibi, boolean sinks) {
        AttentionShape shape = new AttentionShape(length, heads, kvHeads, headDim, valueDim, 0.4f, softcap, window);
        try (Device reference = Devices.open("reference", 1);
                Emulator emulator = Emulator.open(64);
                Device device = emulator.device(TileProducts::new)) {
            float[] expected = attention(reference, of -> reference.neural().attention(of.q(), of.k(), of.v(),
                    of.slopes(), of.sinks(), of.shape(), of.out()), shape, alibi, sinks);
            GpuContext context = ((GpuDevice) device).context();
            GpuBlas products = Objects.requireNonNull(context.blas());
            float[] actual = attention(device, of -> new AttentionProducts(context, products, of).run(), shape, alibi,
                    sinks);
            for (int i = 0; i < expected.length; i++) {
                int at = i;
                // The weights are rounded to bfloat16: half a unit in its last place of values up to 1.
                assertEquals(expected[i], actual[i], 0x1p-8, () -> shape + ", element " + at + ", seed " + SEED);
            }
        }
    }

    private static float[] attention(Device device, MatrixUnitAttention.Plain attention, AttentionShape shape,
            boolean alibi, boolean sinks) {
        int rows = SEQUENCES * shape.sequenceLength();
        int width = shape.heads() * shape.headDim();
        int keys = shape.kvHeads() * shape.headDim();
        int values = shape.kvHeads() * shape.valueDim();
        try (TensorArena arena = device.arena()) {
            SplittableRandom random = new SplittableRandom(SEED);
            // One buffer, as the forward pass has it.
            float[] numbers = new float[rows * (width + keys + values)];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = (float) random.nextDouble(-1, 1);
            }
            Tensor all = arena.matrix(DType.BF16, rows, width + keys + values);
            device.neural().convert(arena.load(MemorySegment.ofArray(numbers), DType.F32, rows, all.columns()), all);
            Tensor ofHeads = arena.matrix(DType.F32, 1, shape.heads());
            device.matrix().fill(ofHeads, 0.25f);
            Tensor out = arena.matrix(DType.F32, rows, (long) shape.heads() * shape.valueDim());
            attention.run(new Attended(all.columns(0, width), all.columns(width, keys),
                    all.columns(width + keys, values), alibi ? ofHeads : null, sinks ? ofHeads : null, shape, out));
            float[] result = new float[(int) out.elements()];
            device.download(out, MemorySegment.ofArray(result));
            return result;
        }
    }
}
