package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.QuantOps.DescentProblem;
import dev.optgptq.kernels.ops.QuantOps.RefitProblem;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DescentArgumentsTest {

    private static final Grid GRID = new Grid(4, true, false, DType.F16);

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentOfADescentIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            refused("descendCodes: h: expected F32[6, 6], found F32[6, 8]",
                    () -> descend(device, arena, 6, arena.matrix(DType.F32, 6, 8), DType.U8));
            refused("descendCodes: codes: expected U8[6, 8], found I32[6, 8]",
                    () -> descend(device, arena, 6, arena.matrix(DType.F32, 6, 6), DType.I32));
            refused("descendCodes: errors: expected at most 128 inputs, found F32[129, 8]",
                    () -> descend(device, arena, 129, arena.matrix(DType.F32, 129, 129), DType.U8));
        }
    }

    private static void descend(Device device, TensorArena arena, int inputs, Tensor h, DType codes) {
        Tensor gradient = arena.matrix(DType.F32, inputs, 8);
        device.quant().descendCodes(new DescentProblem(GRID, h, gradient, arena.matrix(DType.F32, 2, 8),
                arena.matrix(DType.I32, 2, 8), arena.vector(DType.I32, inputs), arena.matrix(codes, inputs, 8),
                arena.matrix(DType.F32, inputs, 8)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentOfARefitIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            Tensor scales = arena.matrix(DType.F32, 3, 8);
            Tensor normal = arena.matrix(DType.F32, 9, 8);
            refused("refitScales: normal: expected F32[9, 8], found F32[3, 8]",
                    () -> device.quant().refitScales(new RefitProblem(GRID, scales, scales, scales)));
            refused("refitScales: slope: expected F32[3, 8], found F32[9, 8]",
                    () -> device.quant().refitScales(new RefitProblem(GRID, normal, normal, scales)));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentOfSumsOverGroupsIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            Tensor codes = arena.matrix(DType.U8, 6, 8);
            Tensor zeros = arena.matrix(DType.I32, 2, 8);
            Tensor values = arena.matrix(DType.F32, 6, 8);
            Tensor sums = arena.matrix(DType.F32, 2, 8);
            refused("groupSums: zeros: expected I32[3, 8], found I32[2, 8]",
                    () -> device.quant().groupSums(2, codes, zeros, values, sums));
            refused("groupSums: sums: expected F32[2, 8], found F32[6, 8]",
                    () -> device.quant().groupSums(4, codes, zeros, values, values));
            refused("groupSums: groupSize: expected at least 1, found 0",
                    () -> device.quant().groupSums(0, codes, zeros, values, sums));
        }
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
