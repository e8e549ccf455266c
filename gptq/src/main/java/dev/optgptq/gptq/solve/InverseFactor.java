package dev.optgptq.gptq.solve;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * The damped, ordered inverse factor of one Hessian, shared by every linear that has the same input (GPTQ paper, section
 * 3.3, steps 2 and 3).
 *
 * @param hessian F32 [n, n], symmetric, undamped, in the inputs' own order, dead inputs as set by reviveDead
 * @param u F32 [n, n], upper triangular, u^T u = (ordered, damped hessian)^-1
 * @param order the order of u's rows
 * @param dead which inputs were never active
 * @param damp the final damping, a share of the mean diagonal
 * @param attempts factorisations tried
 */
public record InverseFactor(Tensor hessian, Tensor u, InputOrder order, boolean[] dead, double damp, int attempts) {

    /** Maximum number of doublings of the damping; the last one exceeds the diagonal itself, so that only NaN fails. */
    private static final int MAX_ATTEMPTS = 24;
    /** The first damping to try if the settings have none. */
    private static final double LEAST_DAMP = 1e-6;

    /**
     * @param hessian F32 [n, n], both triangles; the diagonal of dead inputs is set in place
     * @param arena owns the factor
     * @param what named in errors, e.g. the layers that share the Hessian
     */
    static InverseFactor of(Device device, TensorArena arena, Tensor hessian, SolveSettings settings, String what) {
        int n = Math.toIntExact(hessian.rows());
        Tensor diagonalTensor = arena.vector(DType.F32, n);
        device.matrix().diagonal(hessian, diagonalTensor);
        float[] diagonal = HostVectors.floats(device, diagonalTensor);
        boolean[] dead = reviveDead(diagonal, settings.damp(), what);
        device.matrix().setDiagonal(hessian, HostVectors.upload(device, arena, diagonal));

        InputOrder order = InputOrder.of(settings.actOrder(), diagonal, settings.groupSizeFor(n));
        Tensor u = arena.matrix(DType.F32, n, n);
        try (TensorArena scratch = device.arena()) {
            Tensor damped = scratch.matrix(DType.F32, n, n);
            Tensor orderTensor = HostVectors.upload(device, scratch, order.order());
            double mean = mean(diagonal);
            double damp = settings.damp();
            for (int attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
                device.matrix().gatherSymmetric(hessian, orderTensor, damped);
                device.matrix().setDiagonal(damped,
                        HostVectors.upload(device, scratch, damped(diagonal, order.order(), damp * mean)));
                if (device.matrix().inverseFactor(damped, u)) {
                    return new InverseFactor(hessian, u, order, dead, damp, attempt);
                }
                damp = Math.max(2 * damp, LEAST_DAMP);
            }
        }
        throw new UserError(UserError.Code.NUMERIC,
                what + ": the Hessian could not be factorised with any damping up to "
                        + "the size of its diagonal; the calibration inputs are damaged");
    }

    /**
     * Sets the diagonal of inputs that were never active to the energy that damping adds to all: enough to solve for
     * them, too little to affect the choice of a group's scale. They are not coupled to other inputs, so they are
     * rounded to nearest. The original sets the diagonal to 1 and zeroes their weights, which texts other than the
     * calibration text may need.
     */
    private static boolean[] reviveDead(float[] diagonal, double damp, String what) {
        boolean[] dead = new boolean[diagonal.length];
        int live = 0;
        for (int i = 0; i < diagonal.length; i++) {
            if (!Float.isFinite(diagonal[i])) {
                throw new UserError(UserError.Code.NUMERIC, what + ": the activation of input " + i
                        + " is not finite on the calibration text; the model's weights or its config are damaged");
            }
            dead[i] = diagonal[i] == 0;
            live += dead[i] ? 0 : 1;
        }
        float energy = live == 0 ? 1 : (float) (Math.max(damp, LEAST_DAMP) * mean(diagonal) * diagonal.length / live);
        for (int i = 0; i < diagonal.length; i++) {
            diagonal[i] = dead[i] ? energy : diagonal[i];
        }
        return dead;
    }

    private static float[] damped(float[] diagonal, int[] order, double add) {
        float[] damped = new float[order.length];
        for (int k = 0; k < order.length; k++) {
            damped[k] = (float) (diagonal[order[k]] + add);
        }
        return damped;
    }

    private static double mean(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += value;
        }
        return sum / values.length;
    }

    /** The factorised matrix in the inputs' own order: hessian + damp, F32 [n, n]. */
    Tensor damped(Device device, TensorArena arena, InputOrder other) {
        int n = other.inputs();
        Tensor damped = arena.matrix(DType.F32, n, n);
        Tensor values = arena.vector(DType.F32, n);
        device.matrix().diagonal(hessian, values);
        float[] diagonal = HostVectors.floats(device, values);
        device.matrix().gatherSymmetric(hessian, HostVectors.upload(device, arena, other.order()), damped);
        device.matrix().setDiagonal(damped,
                HostVectors.upload(device, arena, damped(diagonal, other.order(), damp * mean(diagonal))));
        return damped;
    }

    /** b = (hessian + damp)^-1 b, in place: b F32 [n, m], rows in the inputs' own order. */
    void applyInverse(Device device, Tensor b) {
        try (TensorArena scratch = device.arena()) {
            Tensor ordered = scratch.matrix(DType.F32, b.rows(), b.columns());
            Tensor half = scratch.matrix(DType.F32, b.rows(), b.columns());
            device.matrix().gatherRows(b, HostVectors.upload(device, scratch, order.order()), ordered);
            device.matrix().gemm(1, u, false, ordered, false, 0, half);
            device.matrix().gemm(1, u, true, half, false, 0, ordered);
            device.matrix().gatherRows(ordered, HostVectors.upload(device, scratch, order.positions()), b);
        }
    }

    /** Undoes reviveDead: the Hessian is as it was before it was factorised. */
    void restore(Device device) {
        try (TensorArena scratch = device.arena()) {
            Tensor values = scratch.vector(DType.F32, dead.length);
            device.matrix().diagonal(hessian, values);
            float[] diagonal = HostVectors.floats(device, values);
            for (int i = 0; i < dead.length; i++) {
                diagonal[i] = dead[i] ? 0 : diagonal[i];
            }
            device.matrix().setDiagonal(hessian, HostVectors.upload(device, scratch, diagonal));
            device.synchronize();
        }
    }

    int deadInputs() {
        int count = 0;
        for (boolean d : dead) {
            count += d ? 1 : 0;
        }
        return count;
    }
}
