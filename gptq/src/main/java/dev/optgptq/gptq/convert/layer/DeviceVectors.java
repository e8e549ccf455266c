package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.function.BiConsumer;

/** Dense float32 tensors of one shape as vectors, and conjugate gradients over them. */
final class DeviceVectors {

    /** Relative to the first residual's energy; below it there is no gain. */
    private static final double ENOUGH = 1e-10;

    private final Device device;
    private final HostCopies copies;
    private final TensorArena arena;
    private final Tensor one;
    private final Tensor product;

    /** @param arena owns two numbers */
    DeviceVectors(Device device, TensorArena arena) {
        this.device = device;
        this.copies = new HostCopies(device);
        this.arena = arena;
        this.one = arena.vector(DType.F32, 1);
        this.product = arena.vector(DType.F64, 1);
        device.matrix().fill(one, 1);
    }

    /** y = alpha x + beta y; beta 0 never reads y. */
    void combine(double alpha, Tensor x, double beta, Tensor y) {
        device.matrix().gemm((float) alpha, column(x), false, one, false, (float) beta, column(y));
    }

    private static Tensor column(Tensor dense) {
        return Tensor.dense(DType.F32, dense.elements(), 1, dense.memory());
    }

    double dot(Tensor x, Tensor y) {
        device.matrix().dot(x, y, product);
        return copies.number(product);
    }

    Tensor like(Tensor x) {
        return arena.matrix(DType.F32, x.rows(), x.columns());
    }

    /**
     * Preconditioned conjugate gradients (Hestenes and Stiefel 1952) for a x = b, from the x that is given.
     *
     * @param operator writes a of its first argument to its second
     * @param preconditioner likewise, an approximate inverse
     * @param b overwritten
     */
    void solve(BiConsumer<Tensor, Tensor> operator, BiConsumer<Tensor, Tensor> preconditioner, Tensor b, Tensor x,
            int steps) {
        Tensor image = like(x);
        operator.accept(x, image);
        combine(-1, image, 1, b);
        Tensor residual = b;
        Tensor z = like(x);
        preconditioner.accept(residual, z);
        Tensor direction = like(x);
        combine(1, z, 0, direction);
        double energy = dot(residual, z);
        double first = energy;
        for (int step = 0; step < steps && energy > ENOUGH * first; step++) {
            operator.accept(direction, image);
            double curvature = dot(direction, image);
            if (!(curvature > 0)) {
                return;
            }
            double length = energy / curvature;
            combine(length, direction, 1, x);
            combine(-length, image, 1, residual);
            preconditioner.accept(residual, z);
            double next = dot(residual, z);
            combine(1, z, next / energy, direction);
            energy = next;
        }
    }
}
