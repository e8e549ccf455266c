package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one norm on the device.
 *
 * @param weight F32 [1, spec.weightColumns()], as stored: without the norm's offset
 * @param bias F32 as the weight, or null
 * @param shifted room for weight + offset; null where nothing is added
 */
public record NormWeights(NormSpec spec, Tensor weight, @Nullable Tensor bias, @Nullable Tensor shifted) {

    static NormWeights of(NormSpec spec, Tensor weight, @Nullable Tensor bias, TensorArena arena) {
        return new NormWeights(spec, weight, bias,
                spec.offset() == 0 ? null : arena.matrix(DType.F32, 1, spec.weightColumns()));
    }

    /** Its device memory. */
    static long bytes(NormSpec spec) {
        return Float.BYTES * (spec.elements() + (spec.offset() == 0 ? 0 : spec.weightColumns()));
    }

    /** The factor: F32 [1, spec.weightColumns()], from the current weight. */
    public Tensor factor(Device device) {
        if (shifted == null) {
            return weight;
        }
        device.matrix().fill(shifted, spec.offset());
        device.neural().add(shifted, weight);
        return shifted;
    }

    /** The same, to be overwritten. */
    NormWeights copy(Device device, TensorArena arena) {
        return of(spec, copy(weight, device, arena), bias == null ? null : copy(bias, device, arena), arena);
    }

    private static Tensor copy(Tensor tensor, Device device, TensorArena arena) {
        Tensor copy = arena.matrix(tensor.dtype(), tensor.rows(), tensor.columns());
        device.matrix().copy(tensor, copy);
        return copy;
    }

    /** The same shapes, all zero, to sum gradients. */
    NormWeights zeros(Device device, TensorArena arena) {
        return new NormWeights(spec, Zeros.like(weight, device, arena),
                bias == null ? null : Zeros.like(bias, device, arena), null);
    }
}
