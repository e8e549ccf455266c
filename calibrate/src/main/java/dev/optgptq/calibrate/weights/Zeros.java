package dev.optgptq.calibrate.weights;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Tensors to sum gradients of parameters: F32, the parameter's shape, initially zero. */
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
