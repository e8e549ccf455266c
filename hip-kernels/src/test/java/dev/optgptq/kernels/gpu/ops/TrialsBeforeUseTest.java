package dev.optgptq.kernels.gpu.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.GpuDevice;
import dev.optgptq.kernels.emulator.Emulator;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Kernels on matrix units that are tried on a small layer before a GPU uses them: what they compute is in the contract suite. */
class TrialsBeforeUseTest {

    @ParameterizedTest
    @CsvSource({"32, 4", "32, 8", "64, 4"})
    void packed_linears_that_agree_with_the_plain_kernels_are_used(int wave, int bits) {
        try (Emulator emulator = Emulator.open(wave); Device device = emulator.device(TileProducts::new)) {
            assertTrue(new GpuPackedLinear(context(device)).trial().passes(bits));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 3})
    void packed_linears_that_do_not_are_not(int which) {
        try (Emulator emulator = Emulator.open(32); Device device = emulator.device(TileProducts::new)) {
            int[] calls = new int[1];
            PackedTrial trial = new PackedTrial(context(device), (weights, x, y) -> device.matrix().fill(y, 1),
                    (weights, x, y) -> {
                        device.matrix().fill(y, 1);
                        // As if a row lay elsewhere than the kernel believes, with so many rows.
                        if (calls[0]++ == which) {
                            device.matrix().fill(y.rows(2, 1), 2);
                        }
                    });
            assertFalse(trial.passes(4));
            assertFalse(trial.passes(4));
            assertEquals(which + 1, calls[0], "it is tried once");
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void linears_of_few_rows_are_used_where_they_agree(boolean right) {
        try (Emulator emulator = Emulator.open(32); Device device = emulator.device(TileProducts::new)) {
            FewRows few = new FewRows(context(device), (x, w, y) -> {
                device.matrix().linear(x, w, null, 0, y);
                if (!right) {
                    device.matrix().fill(y.rows(1, 1).columns(69, 1), 0);
                }
            });
            assertEquals(right, few.isRight(DType.BF16));
        }
    }

    private static GpuContext context(Device device) {
        return ((GpuDevice) device).context();
    }
}
