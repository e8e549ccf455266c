package dev.optgptq.gptq.refine;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;

/** Scales as a file holds them. */
final class StoredScales {

    private StoredScales() {}

    /** stored = scales, F32 both, rounded to the dtype that the grid's scales are stored in. */
    static void round(Device device, Grid grid, Tensor scales, Tensor stored) {
        try (TensorArena scratch = device.arena()) {
            Tensor narrow = scratch.matrix(grid.scaleType(), scales.rows(), scales.columns());
            device.neural().convert(scales, narrow);
            device.neural().convert(narrow, stored);
        }
    }
}
