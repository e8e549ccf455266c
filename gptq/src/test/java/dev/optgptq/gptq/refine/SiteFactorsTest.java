package dev.optgptq.gptq.refine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.GptqVariant;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.Polish;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.junit.jupiter.api.Test;

class SiteFactorsTest {

    private static final int INPUTS = 32;
    private static final int DEAD = 5;

    /** Weighted Hessians are solved between two variants with equal token weights: the second must find what the first found. */
    @Test
    void a_hessian_with_an_input_that_is_never_active_can_be_factorised_again() {
        try (Device device = Devices.open("cpu", 1);
                SiteFactors factors = new SiteFactors(device, device);
                TensorArena arena = device.arena()) {
            float[] diagonal = new float[INPUTS];
            for (int i = 0; i < INPUTS; i++) {
                diagonal[i] = i == DEAD ? 0 : i + 1;
            }
            Tensor hessian = arena.matrix(DType.F32, INPUTS, INPUTS);
            device.matrix().fill(hessian, 0);
            device.matrix().setDiagonal(hessian, HostVectors.upload(device, arena, diagonal));
            factors.bring(InputSite.MLP_INPUT, false, hessian);

            LinearSolution first = solve(device, factors, arena);
            factors.closeSolvers();
            Tensor after = arena.vector(DType.F32, INPUTS);
            device.matrix().diagonal(hessian, after);
            LinearSolution second = solve(device, factors, arena);

            assertArrayEquals(diagonal, HostVectors.floats(device, after));
            assertEquals(1, first.deadInputs());
            assertEquals(1, second.deadInputs());
            assertEquals(first.outputError(), second.outputError());
        }
    }

    private static LinearSolution solve(Device device, SiteFactors factors, TensorArena arena) {
        Tensor weight = arena.matrix(DType.F32, 1, INPUTS);
        float[] values = new float[INPUTS];
        for (int i = 0; i < INPUTS; i++) {
            values[i] = (float) Math.sin(i);
        }
        device.matrix().copy(HostVectors.upload(device, arena, values), weight);
        return factors.solver(InputSite.MLP_INPUT, false, new Calibrator.Gradient(TinyBlock.SETTINGS), "test")
                .solve(arena, weight, new GptqVariant(false, null, Polish.NONE, false));
    }
}
