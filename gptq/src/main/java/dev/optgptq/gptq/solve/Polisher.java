package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;

/**
 * Lowers the remaining objective of a solution: per output (q - w)^T H (q - w), H the damped Hessian
 * (docs/algorithms.md, section 7). Two steps, neither of which ever raises it: scales are set to the optimum for their
 * codes, and codes to the optimum for their scales.
 */
final class Polisher {

    private final Device device;
    private final Grid grid;
    private final InverseFactor factor;

    Polisher(Device device, Grid grid, InverseFactor factor) {
        this.device = device;
        this.grid = grid;
        this.factor = factor;
    }

    /**
     * A solution and its target. Inputs are in an order with contiguous groups. n inputs, m outputs.
     *
     * @param hessian F32 [n, n], damped
     * @param aim F32 [n, m], w
     * @param codes U8 [n, m], updated
     * @param scales F32 [G, m], updated
     * @param zeros I32 [G, m]
     * @param groupOf I32 [1, n]
     */
    record Problem(Grid grid, Tensor hessian, Tensor aim, Tensor codes, Tensor scales, Tensor zeros, Tensor groupOf,
            int groupSize) {

        int inputs() {
            return Math.toIntExact(codes.rows());
        }

        /** A slice of the outputs. */
        Problem outputs(long from, long count) {
            return new Problem(grid, hessian, aim.columns(from, count), codes.columns(from, count),
                    scales.columns(from, count), zeros.columns(from, count), groupOf, groupSize);
        }

        /** q - w, into errors F32 [n, m]. */
        void errors(Device device, Tensor errors) {
            device.quant().dequantize(codes, scales, zeros, groupOf, errors);
            device.matrix().subtract(errors, aim, errors);
        }
    }

    /**
     * Peak bytes of polishing a weight on the device, including its target and the result, without the damped Hessian:
     * the target and the codes, both also in another order, and the memory of refitting or descent.
     */
    static long bytes(long inputs, long outputs, long groups) {
        long floats = Math.max(CodeDescent.floats(inputs, outputs), ScaleRefit.floats(inputs, outputs, groups));
        return 2 * (4 + 1) * inputs * outputs + 4 * floats + (4 + 4) * groups * outputs;
    }

    /** @param wt F32 [n, m], the target; not written */
    void polish(Polish polish, Tensor wt, QuantizedWeight weight) {
        InputOrder order = factor.order().ofGroups();
        try (TensorArena scratch = device.arena()) {
            boolean inOrder = order.isIdentity();
            Tensor indices = HostVectors.upload(device, scratch, order.order());
            Tensor codes = inOrder ? weight.codes() : gather(scratch, weight.codes(), indices);
            Problem problem = new Problem(grid, factor.damped(device, scratch, order),
                    inOrder ? wt : gather(scratch, wt, indices), codes, weight.scales(), weight.zeros(),
                    HostVectors.upload(device, scratch, order.groupOf()), order.groupSize());
            if (polish.refitScales()) {
                ScaleRefit.run(device, problem);
            }
            CodeDescent.run(device, problem, polish.sweeps());
            if (!inOrder) {
                device.matrix().gatherRows(codes, HostVectors.upload(device, scratch, order.positions()),
                        weight.codes());
            }
        }
    }

    private Tensor gather(TensorArena arena, Tensor source, Tensor indices) {
        Tensor target = arena.matrix(source.dtype(), source.rows(), source.columns());
        device.matrix().gatherRows(source, indices, target);
        return target;
    }
}
