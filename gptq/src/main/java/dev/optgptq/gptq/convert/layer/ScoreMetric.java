package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The preconditioner of a score fit: left_h w_h right, w_h [headDim, inputs] the rows of a head. The quadratic would be this if
 * both sides did not depend on each other.
 */
final class ScoreMetric {

    private final Device device;
    private final List<Tensor> left = new ArrayList<>();
    private final List<Tensor> leftInverse = new ArrayList<>();
    private final Tensor right;
    private final Tensor rightInverse;

    /**
     * Copies everything to the device.
     *
     * @param heads left, [headDim, headDim] each, positive definite
     * @param inputs right, [inputs, inputs], likewise
     * @param owner of the copies
     */
    ScoreMetric(Device device, Dense dense, List<Matrix> heads, Matrix inputs, TensorArena owner) {
        this.device = device;
        HostCopies copies = new HostCopies(device);
        for (Matrix head : heads) {
            left.add(copies.upload(head, owner));
            leftInverse.add(copies.upload(inverse(dense, head), owner));
        }
        right = copies.upload(inputs, owner);
        rightInverse = copies.upload(inverse(dense, inputs), owner);
    }

    private static Matrix inverse(Dense dense, Matrix m) {
        return dense.inverse(m)
                .orElseThrow(() -> new IllegalStateException("a lifted moment matrix is not positive definite"));
    }

    /** @param into left w right, [rows, inputs] as w */
    void apply(Tensor w, Tensor into) {
        between(left, right, w, into);
    }

    /** @param into left^-1 w right^-1 */
    void solve(Tensor w, Tensor into) {
        between(leftInverse, rightInverse, w, into);
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
