package dev.optgptq.calibrate.weights;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Where gradients of parameters are summed: F32, the parameter's shape, zero at first. */
final class Zeros {

    private Zeros() {}

    static Tensor like(Tensor parameter, Device device, TensorArena arena) {
        return matrix(parameter.rows(), parameter.columns(), device, arena);
    }

    static Tensor matrix(long rows, long columns, Device device, TensorArena arena) {
        Tensor zeros = arena.matrix(DType.F32, rows, columns);
        device.matrix().fill(zeros, 0);
        return zeros;
    }
}
