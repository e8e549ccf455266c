package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GradientArgumentsTest {

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            GradientOps ops = device.gradient();
            Tensor x = arena.matrix(DType.F32, 6, 8);
            Tensor narrow = arena.matrix(DType.F32, 6, 4);
            Tensor row = arena.vector(DType.F32, 8);
            Tensor ids = arena.vector(DType.I32, 6);
            refused("rmsNormGradient: dx: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.rmsNormGradient(x, row, 0, x, narrow, null));
            refused("layerNormGradient: dWeight: expected F32[1, 8], found F32[6, 4]",
                    () -> ops.layerNormGradient(x, row, 0, x, x, narrow, null));
            refused("attentionGradient: dk: expected F32[6, 4], found F32[6, 8]", () -> ops.attentionGradient(
                    new Attended(x, narrow, narrow, null, new AttentionShape(6, 2, 1, 4, 1, 0), x), x, x, x, narrow));
            refused("activateGradient: dOut: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.activateGradient(Activation.SILU, x, narrow));
            refused("activateGatedGradient: up: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.activateGatedGradient(Activation.SILU, x, narrow, x));
            refused("embedGradient: dOut: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.embedGradient(ids, narrow, x));
            refused("crossEntropyGradient: weights: expected F32[1, 6], found F32[1, 8]",
                    () -> ops.crossEntropyGradient(x, ids, row));
            refused("klGradient: student: expected F32[6, 8], found F32[6, 4]", () -> ops.klGradient(x, narrow, row));
            refused("klGradient: weights: expected F32[1, 6], found F32[1, 8]", () -> ops.klGradient(x, x, row));
            refused("addRowsInto: sums: expected F32[1, 4], found F32[1, 8]", () -> ops.addRowsInto(narrow, row));
            refused("addSquares: squares: expected F32[1, 6], found F32[1, 8]", () -> ops.addSquares(1, x, row));
            refused("scaleRows: factors: expected F32[1, 6], found F32[1, 8]", () -> ops.scaleRows(x, row, x));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aTokenOutsideTheVocabularyIsNamedWithItsPosition(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            Tensor table = arena.matrix(DType.F32, 5, 2);
            Tensor d = arena.matrix(DType.F32, 3, 2);
            Tensor ids = arena.vector(DType.I32, 3);
            ids.memory().fill((byte) 0).setAtIndex(ValueLayout.JAVA_INT, 2, 5);
            refused("embedGradient: token 2 is 5, outside [0, 5)",
                    () -> device.gradient().embedGradient(ids, d, table));
        }
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
