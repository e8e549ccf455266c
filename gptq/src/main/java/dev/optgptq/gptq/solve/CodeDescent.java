package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.Polisher.Problem;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.QuantOps.DescentProblem;

/**
 * Coordinate descent over codes, the grid fixed (docs/algorithms.md, section 7): each input in order is set to its best
 * code with all others fixed. In blocks of inputs: a block needs only its rows of H (q - w), computed by one GEMM from
 * the current errors, so that rounding errors do not accumulate over blocks.
 */
final class CodeDescent {

    private static final int BLOCK = GptqSolver.BLOCK;

    private CodeDescent() {}

    /** Memory of a run: the errors, and the gradient of a block. */
    static long floats(long inputs, long outputs) {
        return (inputs + Math.min(BLOCK, inputs)) * outputs;
    }

    static void run(Device device, Problem problem, int sweeps) {
        if (sweeps == 0) {
            return;
        }
        int inputs = problem.inputs();
        long outputs = problem.codes().columns();
        try (TensorArena scratch = device.arena()) {
            Tensor errors = scratch.matrix(DType.F32, inputs, outputs);
            Tensor gradient = scratch.matrix(DType.F32, Math.min(BLOCK, inputs), outputs);
            problem.errors(device, errors);
            for (int sweep = 0; sweep < sweeps; sweep++) {
                for (int start = 0; start < inputs; start += BLOCK) {
                    int size = Math.min(BLOCK, inputs - start);
                    descend(device, problem, start, gradient.rows(0, size), errors);
                }
            }
        }
    }

    /** The block of inputs from start on, as many as the gradient has rows. */
    private static void descend(Device device, Problem problem, int start, Tensor gradient, Tensor errors) {
        long size = gradient.rows();
        Tensor h = problem.hessian().rows(start, size);
        device.matrix().gemm(1, h, false, errors, false, 0, gradient);
        device.quant().descendCodes(new DescentProblem(problem.grid(), h.columns(start, size), gradient,
                problem.scales(), problem.zeros(), problem.groupOf().columns(start, size),
                problem.codes().rows(start, size), errors.rows(start, size)));
    }
}
