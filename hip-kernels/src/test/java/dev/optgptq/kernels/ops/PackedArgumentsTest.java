package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PackedArgumentsTest {

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentOfLinearPackedIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            QuantOps ops = device.quant();
            Tensor x = arena.matrix(DType.F32, 2, 64);
            Tensor y = arena.matrix(DType.F32, 2, 32);
            PackedWeights weights = weights(arena, 4);
            refused("linearPacked: y: expected F32[2, 64], found F32[1, 64]",
                    () -> ops.linearPacked(weights, x, null, 0, x.rows(0, 1)));
            refused("linearPacked: bias: expected F32[1, 32], found F32[1, 64]",
                    () -> ops.linearPacked(weights, x, x.rows(0, 1), 0, y));
            refused("linearPacked: qweight: expected I32[4, 32], found I32[8, 32]",
                    () -> ops.linearPacked(weights, x.columns(0, 32), null, 0, y));
            refused("linearPacked: bits: expected 2, 3, 4 or 8, found 5",
                    () -> ops.linearPacked(weights(arena, 5), x, null, 0, y));
            refused("linearPacked: packed sizes are multiples of 32, found 40",
                    () -> ops.linearPacked(weights, x.columns(0, 40), null, 0, y));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void anInputOfAGroupThatIsNotThereIsRefused(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            PackedWeights weights = weights(arena, 4);
            weights.groupOf().memory().setAtIndex(ValueLayout.JAVA_INT, 63, 2);
            Tensor x = arena.matrix(DType.F32, 2, 64);
            Tensor y = arena.matrix(DType.F32, 2, 32);
            assertThrows(IndexOutOfBoundsException.class, () -> device.quant().linearPacked(weights, x, null, 0, y));
        }
    }

    /** 64 inputs in two groups, 32 outputs; all zero. */
    private static PackedWeights weights(TensorArena arena, int bits) {
        Tensor groupOf = arena.vector(DType.I32, 64);
        groupOf.memory().fill((byte) 0);
        Tensor qweight = arena.matrix(DType.I32, 2L * bits, 32);
        Tensor qzeros = arena.matrix(DType.I32, 2, bits);
        Tensor scales = arena.matrix(DType.F16, 2, 32);
        qweight.memory().fill((byte) 0);
        qzeros.memory().fill((byte) 0);
        scales.memory().fill((byte) 0);
        return new PackedWeights(bits, 0, qweight, qzeros, scales, groupOf);
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
