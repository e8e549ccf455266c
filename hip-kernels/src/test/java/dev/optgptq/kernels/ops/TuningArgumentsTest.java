package dev.optgptq.kernels.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import dev.optgptq.kernels.ops.TuningOps.LatentGrid;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TuningArgumentsTest {

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void aWrongArgumentIsNamedWithWhatWasExpectedAndFound(String name) {
        try (Device device = Devices.open(name, 1); TensorArena arena = device.arena()) {
            TuningOps ops = device.tuning();
            Tensor latent = arena.matrix(DType.F32, 6, 8);
            Tensor narrow = arena.matrix(DType.F32, 6, 4);
            Tensor codes = arena.matrix(DType.U8, 6, 8);
            LatentGrid grid = new LatentGrid(15, arena.matrix(DType.F32, 2, 8), arena.matrix(DType.I32, 2, 8),
                    arena.vector(DType.I32, 6));
            LatentGrid fewZeros = new LatentGrid(15, grid.scales(), arena.matrix(DType.I32, 1, 8), grid.groupOf());
            refused("latent: wt: expected F32[6, 8], found F32[6, 4]", () -> ops.latent(grid, narrow, codes, latent));
            refused("latentCodes: codes: expected U8[6, 8], found F32[6, 8]",
                    () -> ops.latentCodes(grid, latent, latent));
            refused("roundLatent: zeros: expected I32[2, 8], found I32[1, 8]",
                    () -> ops.roundLatent(fewZeros, latent, latent));
            refused("latentGradient: dScales: expected F32[2, 8], found F32[6, 8]",
                    () -> ops.latentGradient(grid, latent, latent, latent));
            refused("adam: second: expected F32[6, 8], found F32[6, 4]",
                    () -> ops.adam(new AdamStep(1, 0, 0, 1, 1), latent, latent, narrow, null, latent));
        }
    }

    @Test
    void aStepThatCannotBeIsRefused() {
        refused("bad Adam step: rate 0.1, betas 1.0, 0.9, epsilon 1.0E-8, t 1",
                () -> new AdamStep(0.1f, 1, 0.9f, 1e-8f, 1));
        refused("bad Adam step: rate 0.1, betas 0.9, 0.9, epsilon 1.0E-8, t 0",
                () -> new AdamStep(0.1f, 0.9f, 0.9f, 1e-8f, 0));
    }

    private static void refused(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }
}
