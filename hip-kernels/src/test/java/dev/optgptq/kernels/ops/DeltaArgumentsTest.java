package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.DeltaOps.DeltaInputs;
import dev.optgptq.kernels.ops.DeltaOps.DeltaShape;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DeltaArgumentsTest {

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentIsNamedWithItsOpAndWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            DeltaOps ops = device.delta();
            Tensor x = arena.matrix(DType.F32, 6, 4);
            Tensor heads = arena.matrix(DType.F32, 6, 2);
            Tensor weight = arena.matrix(DType.F32, 4, 3);
            DeltaShape shape = new DeltaShape(3, 1, 2, 4, 2, 1);
            refused("causalConvolution: weight: expected F32[4, 4], found F32[6, 4]",
                    () -> ops.causalConvolution(x, x, null, 3, x));
            refused("causalConvolution: rows must be whole sequences of 4, found F32[6, 4]",
                    () -> ops.causalConvolution(x, weight, null, 4, x));
            refused("causalConvolutionGradient: dWeight: expected F32[4, 3], found F32[6, 4]",
                    () -> ops.causalConvolutionGradient(x, weight, 3, x, x, x, null));
            refused("deltaDecay: aLog: expected F32[1, 2], found F32[6, 4]",
                    () -> ops.deltaDecay(heads, x, heads.rows(0, 1), heads));
            refused("gatedDeltaRule: beta: expected F32[6, 2], found F32[6, 4]",
                    () -> ops.gatedDeltaRule(new DeltaInputs(x, x, x, heads, x, shape), x));
            refused("gatedDeltaRule: out: expected F32[6, 4], found F32[6, 2]",
                    () -> ops.gatedDeltaRule(new DeltaInputs(x, x, x, heads, heads, shape), heads));
        }
    }

    @Test
    void aShapeThatCannotBeIsRefused() {
        refused("bad delta shape: T 3, keyHeads 2, valueHeads 3, keyDim 4 (up to 256), valueDim 4",
                () -> new DeltaShape(3, 2, 3, 4, 4, 1));
        refused("bad delta shape: T 3, keyHeads 1, valueHeads 1, keyDim 257 (up to 256), valueDim 4",
                () -> new DeltaShape(3, 1, 1, 257, 4, 1));
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
