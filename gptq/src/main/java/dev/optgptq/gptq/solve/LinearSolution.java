package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The solution of one linear.
 *
 * @param weight codes, scales, zeros, g_idx on the device
 * @param weightError |W - Q|^2 / |W|^2
 * @param largestScale the largest magnitude of its stored scales
 * @param outputError |X (W - Q)^T|^2 / |X W^T|^2 over the calibration inputs; null without a Hessian
 * @param damp the share of the mean diagonal that was added; null without a Hessian
 * @param dampAttempts factorisations tried; 0 without a Hessian
 * @param deadInputs inputs that were never active; their weights were rounded to nearest
 * @param rounded F32 [in, out], the weights before rounding, including the compensation of earlier errors; null if not
 *     requested
 */
public record LinearSolution(QuantizedWeight weight, double weightError, float largestScale,
        @Nullable Double outputError,
        @Nullable Double damp, int dampAttempts, int deadInputs, @Nullable Tensor rounded) {

    /**
     * On another device, a copy; the owner must be done with it.
     *
     * @param arena owns it
     */
    public LinearSolution on(Device owner, Device other, TensorArena arena) {
        return new LinearSolution(weight.on(owner, other, arena), weightError, largestScale, outputError, damp,
                dampAttempts, deadInputs, rounded == null ? null : other.received(owner, rounded, arena));
    }

    /** The same figures with these integers, and without the weights before rounding. */
    public LinearSolution with(QuantizedWeight integers) {
        return new LinearSolution(integers, weightError, largestScale, outputError, damp, dampAttempts, deadInputs,
                null);
    }
}
