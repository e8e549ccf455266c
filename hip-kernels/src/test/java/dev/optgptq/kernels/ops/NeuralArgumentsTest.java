package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NeuralArgumentsTest {

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            NeuralOps ops = device.neural();
            Tensor x = arena.matrix(DType.F32, 6, 8);
            Tensor narrow = arena.matrix(DType.F32, 6, 4);
            Tensor halves = arena.matrix(DType.F16, 6, 8);
            Tensor ids = arena.vector(DType.I32, 6);
            Tensor angles = arena.matrix(DType.F32, 3, 4);
            refused("rmsNorm: weight: expected F32[1, 8], found F32[6, 4]", () -> ops.rmsNorm(x, narrow, 0, x));
            refused("layerNorm: x: expected F32[6, 8], found F16[6, 8]", () -> ops.layerNorm(halves, x, null, 0, x));
            refused("convert: target: expected F16[6, 4], found F16[6, 8]", () -> ops.convert(narrow, halves));
            refused("convert: source: expected a float dtype, found I32[1, 6]", () -> ops.convert(ids, x));
            refused("embed: out: expected F32[6, 4], found F32[6, 8]", () -> ops.embed(ids, narrow, x));
            refused("rotary: headDim must divide x's columns: headDim 3, x F32[6, 8]",
                    () -> ops.rotary(x, 3, angles, angles, RotaryLayout.HALF));
            refused("rotary: cos holds more pairs than a head: headDim 4, cos F32[3, 4]",
                    () -> ops.rotary(x, 4, angles, angles, RotaryLayout.HALF));
            refused("rotary: rows must be whole sequences of 3, found F32[4, 8]",
                    () -> ops.rotary(x.rows(0, 4), 8, angles, angles, RotaryLayout.HALF));
            refused("attention: k: expected F32[6, 4], found F32[6, 8]",
                    () -> ops.attention(x, x, x, null, new AttentionShape(6, 2, 1, 4, 1, 0), x));
            refused("attention: rows must be whole sequences of 4, found F32[6, 8]",
                    () -> ops.attention(x, x, x, null, new AttentionShape(4, 2, 2, 4, 1, 0), x));
            refused("attention: v: expected F32[6, 3], found F32[6, 4]",
                    () -> ops.attention(narrow, narrow, narrow, null,
                            new AttentionShape(6, 1, 1, 4, 3, 1, 0, 0), narrow));
            refused("attention: sinks: expected F32[1, 2], found F32[6, 8]",
                    () -> ops.attention(x, x, x, null, x, new AttentionShape(6, 2, 2, 4, 1, 0), x));
            refused("rmsNormGroups: width must divide x's columns: width 3, x F32[6, 8]",
                    () -> ops.rmsNormGroups(x, narrow, 3, 0, x));
            refused("rmsNormGroups: weight: expected F32[1, 8], found F32[1, 2]",
                    () -> ops.rmsNormGroups(x, narrow.rows(0, 1).columns(0, 2), 4, 0, x));
            refused("layerNormGroups: bias: expected F32[1, 4], found F32[6, 8]",
                    () -> ops.layerNormGroups(x, narrow.rows(0, 1), x, 4, 0, x));
            refused("clampedSwiglu: up: expected F32[6, 8], found F32[6, 4]", () -> ops.clampedSwiglu(x, narrow, 1, 7));
            refused("clampedSwiglu: limit: expected at least 0, found -1.0", () -> ops.clampedSwiglu(x, x, 1, -1));
            refused("gateSigmoid: gate: expected F32[6, 8], found F32[6, 4]", () -> ops.gateSigmoid(x, narrow));
            refused("softcap: cap: expected above 0, found 0.0", () -> ops.softcap(x, 0));
            refused("clamp: limit: expected at least 0, found NaN", () -> ops.clamp(x, Float.NaN));
            refused("activate: x: expected F32[6, 8], found F16[6, 8]", () -> ops.activate(Activation.SILU, halves));
            refused("activateGated: up: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.activateGated(Activation.SILU, x, narrow));
            refused("add: y: expected F32[6, 8], found F32[6, 4]", () -> ops.add(x, narrow));
            refused("addRow: row: expected F32[1, 8], found F32[6, 8]", () -> ops.addRow(x, x));
            refused("crossEntropy: nll: expected F64[1, 6], found F32[6, 8]", () -> ops.crossEntropy(x, ids, x));
            refused("klDivergence: student: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.klDivergence(x, narrow, x, ids));
            refused("klDivergence: kl: expected F64[1, 6], found F32[6, 8]", () -> ops.klDivergence(x, x, x, ids));
            refused("klDivergence: agrees: expected I32[1, 6], found F32[6, 8]",
                    () -> ops.klDivergence(x, x, arena.vector(DType.F64, 6), x));
            refused("countNonFinite: count: expected I64[1, 1], found I32[1, 6]", () -> ops.countNonFinite(x, ids));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aTokenOutsideTheVocabularyIsNamedWithItsPosition(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            Tensor table = arena.matrix(DType.F32, 5, 2);
            Tensor out = arena.matrix(DType.F32, 3, 2);
            Tensor ids = arena.vector(DType.I32, 3);
            ids.memory().fill((byte) 0).setAtIndex(ValueLayout.JAVA_INT, 2, 5);
            refused("embed: token 2 is 5, outside [0, 5)", () -> device.neural().embed(ids, table, out));
            ids.memory().fill((byte) 0).setAtIndex(ValueLayout.JAVA_INT, 1, -1);
            Tensor nll = arena.vector(DType.F64, 3);
            refused("crossEntropy: token 1 is -1, outside [0, 2)",
                    () -> device.neural().crossEntropy(out, ids, nll));
        }
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
