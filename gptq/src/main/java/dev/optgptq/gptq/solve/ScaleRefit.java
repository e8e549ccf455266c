package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.Polisher.Problem;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.QuantOps.RefitProblem;

/**
 * The optimal scales for given codes, jointly for all groups of an output: s = (A^T H A)^-1 A^T H w, the columns of A
 * are the codes minus zeros of each group (docs/algorithms.md, section 7). Coordinate descent over groups would need no
 * [G, G] matrix per output; but with correlated inputs, as in language models, many rounds end far from the optimum. So
 * outputs are processed in panels, whose matrices take no more memory than the weight.
 */
final class ScaleRefit {

    private ScaleRefit() {}

    /** Memory of a run: a panel. */
    static long floats(long inputs, long outputs, long groups) {
        return perOutput(inputs, groups) * panel(inputs, outputs, groups);
    }

    /** Results of matmuls with the Hessian, the errors or a group's scaled steps, the normal matrix, slopes. */
    private static long perOutput(long inputs, long groups) {
        return 2 * inputs + 1 + groups * groups + groups;
    }

    /** Outputs of a panel: as many as take no more memory than the weight; hundreds, unless groups are small. */
    private static long panel(long inputs, long outputs, long groups) {
        return Math.clamp(inputs * outputs / perOutput(inputs, groups), 1, outputs);
    }

    static void run(Device device, Problem problem) {
        long outputs = problem.codes().columns();
        long width = panel(problem.inputs(), outputs, problem.scales().rows());
        for (long from = 0; from < outputs; from += width) {
            refit(device, problem.outputs(from, Math.min(width, outputs - from)));
        }
    }

    private static void refit(Device device, Problem problem) {
        int inputs = problem.inputs();
        long groups = problem.scales().rows();
        long outputs = problem.codes().columns();
        try (TensorArena scratch = device.arena()) {
            Tensor product = scratch.matrix(DType.F32, inputs, outputs);
            Tensor slope = scratch.matrix(DType.F32, groups, outputs);
            Tensor normal = scratch.matrix(DType.F32, groups * groups, outputs);
            try (TensorArena forErrors = device.arena()) {
                Tensor errors = forErrors.matrix(DType.F32, inputs, outputs);
                problem.errors(device, errors);
                device.matrix().gemm(1, problem.hessian(), false, errors, false, 0, product);
                device.quant().groupSums(problem.groupSize(), problem.codes(), problem.zeros(), product, slope);
            }
            normal(device, problem, product, normal);
            device.quant().refitScales(new RefitProblem(problem.grid(), normal, slope, problem.scales()));
        }
    }

    /** A^T H A from the diagonal up, column by column. */
    private static void normal(Device device, Problem problem, Tensor product, Tensor normal) {
        int groups = Math.toIntExact(problem.scales().rows());
        int size = problem.groupSize();
        long outputs = problem.codes().columns();
        try (TensorArena scratch = device.arena()) {
            Tensor ones = scratch.vector(DType.F32, outputs);
            Tensor first = scratch.vector(DType.I32, size);
            Tensor steps = scratch.matrix(DType.F32, size, outputs);
            device.matrix().fill(ones, 1);
            device.matrix().fill(first, 0);
            for (int k = 0; k < groups; k++) {
                long start = (long) k * size;
                long count = Math.min(size, problem.inputs() - start);
                long end = start + count;
                Tensor ofGroup = steps.rows(0, count);
                // With scales of 1 a code dequantizes to code - zero.
                device.quant().dequantize(problem.codes().rows(start, count), ones, problem.zeros().rows(k, 1),
                        first.columns(0, count), ofGroup);
                device.matrix().gemm(1, problem.hessian().rows(0, end).columns(start, count), false, ofGroup, false, 0,
                        product.rows(0, end));
                device.quant().groupSums(size, problem.codes().rows(0, end), problem.zeros().rows(0, k + 1),
                        product.rows(0, end), normal.rows((long) k * groups, k + 1));
            }
        }
    }
}
