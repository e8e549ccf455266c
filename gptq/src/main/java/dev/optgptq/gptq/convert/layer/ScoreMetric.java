package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.DeviceAlgebra;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.List;

/**
 * The preconditioner of a score fit: left_h w_h right, w_h [headDim, inputs] the rows of a head. The quadratic would be this if
 * both sides did not depend on each other.
 *
 * @param left [headDim, headDim] each
 * @param right [inputs, inputs]
 */
record ScoreMetric(Device device, List<Factor> left, Factor right) {

    /** A symmetric matrix, F32, and its inverse. */
    record Factor(Tensor matrix, Tensor inverse) {

        /**
         * Lifts the diagonal of moments by a share of its mean, and inverts that in float64.
         *
         * @param moments F32 [n, n], symmetric but for rounding
         * @param arena owns both
         */
        static Factor lifted(Device device, Tensor moments, double share, TensorArena arena) {
            DeviceAlgebra algebra = new DeviceAlgebra(device);
            long n = moments.rows();
            Tensor matrix = arena.matrix(DType.F32, n, n);
            Tensor inverse = arena.matrix(DType.F32, n, n);
            try (TensorArena scratch = device.arena()) {
                device.matrix().symmetrize(moments);
                Tensor lifted = algebra.copy(moments, scratch);
                algebra.addToDiagonal(Math.max(share * algebra.meanDiagonal(lifted), Double.MIN_NORMAL), lifted);
                device.neural().convert(lifted, matrix);
                Tensor inverted = scratch.matrix(DType.F64, n, n);
                if (!algebra.invert(lifted, inverted)) {
                    throw new IllegalStateException("a lifted moment matrix is not positive definite");
                }
                device.neural().convert(inverted, inverse);
                device.synchronize();
            }
            return new Factor(matrix, inverse);
        }
    }

    /** @param into left w right, [rows, inputs] as w */
    void apply(Tensor w, Tensor into) {
        between(left.stream().map(Factor::matrix).toList(), right.matrix, w, into);
    }

    /** @param into left^-1 w right^-1 */
    void solve(Tensor w, Tensor into) {
        between(left.stream().map(Factor::inverse).toList(), right.inverse, w, into);
    }

    private void between(List<Tensor> heads, Tensor inputs, Tensor w, Tensor into) {
        long d = heads.getFirst().rows();
        try (TensorArena scratch = device.arena()) {
            Tensor half = scratch.matrix(DType.F32, w.rows(), w.columns());
            for (int head = 0; head < heads.size(); head++) {
                device.matrix().gemm(1, heads.get(head), false, w.rows(head * d, d), false, 0, half.rows(head * d, d));
            }
            device.matrix().gemm(1, half, false, inputs, false, 0, into);
            device.synchronize();
        }
    }
}
