package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.GpuDevice;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What it computes is in the contract suite; here, when it is used. */
class MatrixUnitAttentionTest {

    /** The emulator has the instructions of waves of 32, which are NVIDIA's, and of 64, which are AMD's. */
    @ParameterizedTest
    @CsvSource({"32, F16", "32, BF16", "64, F16", "64, BF16"})
    void a_card_that_agrees_with_the_plain_kernel_is_trusted(int wave, DType dtype) {
        try (Emulator emulator = Emulator.open(wave); Device device = emulator.device(TileProducts::new)) {
            GpuContext context = ((GpuDevice) device).context();
            assertTrue(new MatrixUnitAttention(context, new GpuAttention(context)::kernel).takes(dtype, 64));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F16", "BF16"})
    void a_card_that_does_not_is_not(DType dtype) {
        try (Emulator emulator = Emulator.open(64); Device device = emulator.device(TileProducts::new)) {
            GpuContext context = ((GpuDevice) device).context();
            GpuAttention right = new GpuAttention(context);
            MatrixUnitAttention units = new MatrixUnitAttention(context, attended -> {
                right.kernel(attended);
                Tensor out = attended.out();
                // As if rows of a tile lay elsewhere than the kernel believes.
                device.matrix().copy(out.rows(8, 8), out.rows(0, 8));
            });
            assertEquals(false, units.takes(dtype, 64));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {129, 256})
    void longer_heads_are_left_to_others(int headDim) {
        try (Emulator emulator = Emulator.open(64); Device device = emulator.device(TileProducts::new)) {
            GpuContext context = ((GpuDevice) device).context();
            assertEquals(false,
                    new MatrixUnitAttention(context, new GpuAttention(context)::kernel).takes(DType.BF16, headDim));
        }
    }

    /** Those that its kernel does not know. */
    @ParameterizedTest
    @CsvSource({"16, 0, false, true", "16, 2, false, false", "16, 0, true, false", "24, 0, false, false"})
    void caps_sinks_and_values_of_another_width_are_left_to_others(int valueDim, float softcap, boolean sinks,
            boolean taken) {
        try (Emulator emulator = Emulator.open(64);
                Device device = emulator.device(TileProducts::new);
                TensorArena arena = device.arena()) {
            GpuContext context = ((GpuDevice) device).context();
            AttentionShape shape = new AttentionShape(3, 1, 1, 16, valueDim, 1, softcap, 0);
            Attended call = new Attended(arena.matrix(DType.BF16, 3, 16), arena.matrix(DType.BF16, 3, 16),
                    arena.matrix(DType.BF16, 3, valueDim), null, sinks ? arena.matrix(DType.F32, 1, 1) : null, shape,
                    arena.matrix(DType.F32, 3, valueDim));
            assertEquals(taken, new MatrixUnitAttention(context, new GpuAttention(context)::kernel).takes(call));
        }
    }
}
