package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Scales as stored in a file. */
public final class StoredScales {

    private StoredScales() {}

    /**
     * stored = scales, F32 both, rounded to the dtype of the file; both may be the same tensor.
     *
     * @param dtype F16, BF16 or F32
     */
    public static void round(Device device, DType dtype, Tensor scales, Tensor stored) {
        try (TensorArena scratch = device.arena()) {
            Tensor narrow = scratch.matrix(dtype, scales.rows(), scales.columns());
            device.neural().convert(scales, narrow);
            device.neural().convert(narrow, stored);
        }
    }
}
