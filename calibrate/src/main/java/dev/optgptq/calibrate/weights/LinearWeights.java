package dev.optgptq.calibrate.weights;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import org.jspecify.annotations.Nullable;

/** The weights of one linear layer on the device. */
public sealed interface LinearWeights {

    /** F32 [1, outputs], or null. */
    @Nullable
    Tensor bias();

    /** [outputs, inputs] in the matmul dtype; packed weights have none, and are for forward passes only. */
    Tensor weight();

    /**
     * Plain numbers, which can be overwritten.
     *
     * @param weight [outputs, inputs] in the matmul dtype: F32, F16 or BF16
     */
    record Dense(Tensor weight, @Nullable Tensor bias) implements LinearWeights {}

    /** Codes as in a checkpoint, multiplied directly: for generation, which is bound by reading weights. */
    record Packed(PackedWeights packed, @Nullable Tensor bias) implements LinearWeights {

        @Override
        public Tensor weight() {
            throw new IllegalStateException("a packed linear has no plain weight; it was loaded for generation");
        }
    }

    /** The same shapes, all zero, to sum gradients. */
    default LinearWeights zeros(Device device, TensorArena arena) {
        Tensor own = bias();
        return new Dense(Zeros.like(weight(), device, arena), own == null ? null : Zeros.like(own, device, arena));
    }
}
