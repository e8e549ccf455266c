package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.Vectors;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Dense float32 tensors of one shape as vectors. */
final class DeviceVectors implements Vectors {

    private final Device device;
    private final HostCopies copies;
    private final Tensor one;
    private final Tensor product;

    /** @param arena owns two numbers */
    DeviceVectors(Device device, TensorArena arena) {
        this.device = device;
        this.copies = new HostCopies(device);
        this.one = arena.vector(DType.F32, 1);
        this.product = arena.vector(DType.F64, 1);
        device.matrix().fill(one, 1);
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Override
    public void combine(double alpha, Tensor x, double beta, Tensor y) {
        device.matrix().gemm((float) alpha, column(x), false, one, false, (float) beta, column(y));
    }

    private static Tensor column(Tensor dense) {
        return Tensor.dense(DType.F32, dense.elements(), 1, dense.memory());
    }

    @Override
    public double dot(Tensor x, Tensor y) {
        device.matrix().dot(x, y, product);
        return copies.number(product);
    }
}
