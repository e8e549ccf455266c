package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.calibrate.family.InputSite.Kind;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Shrinkage of the Hessians of a layer's experts that receive few tokens: H = (1 - w) H_e + w T with w = max(0, 1 -
 * tokens / n), so that n tokens, which an n x n Hessian needs for full rank, are enough, and an expert without any has T
 * alone. For inputs of experts T is the mean over all tokens of all experts; the activations inside an expert are not
 * comparable with others, and T is the mean of the diagonal times the identity (Ledoit and Wolf 2004, section 2).
 */
final class ExpertHessians {

    private final Device device;
    /** F32 [n, n], upper triangle; null where it is a multiple of the identity. */
    private final @Nullable Tensor target;
    private final float diagonal;
    /** F32 [1, n]. */
    private final Tensor row;

    private ExpertHessians(Device device, @Nullable Tensor target, float diagonal, Tensor row) {
        this.device = device;
        this.target = target;
        this.diagonal = diagonal;
        this.row = row;
    }

    /**
     * One expert's sum.
     *
     * @param sum 2 / N sum_t x_t x_t^T over its tokens, N those of all: upper triangle
     */
    record Of(Tensor sum, long tokens) {}

    /**
     * @param arena owns what is kept
     * @param all of one kind of site, at least one
     * @param totalTokens N
     */
    static ExpertHessians of(Device device, TensorArena arena, Kind kind, List<Of> all, long totalTokens) {
        long n = all.getFirst().sum().rows();
        long passed = all.stream().mapToLong(Of::tokens).sum();
        Tensor row = arena.vector(DType.F32, n);
        if (passed == 0) {
            return new ExpertHessians(device, null, 1, row);
        }
        float scale = (float) ((double) totalTokens / passed);
        if (kind == Kind.EXPERT_INPUT) {
            Tensor target = arena.matrix(DType.F32, n, n);
            device.matrix().fill(target, 0);
            all.forEach(each -> device.neural().add(target, each.sum()));
            device.neural().scale(target, scale);
            return new ExpertHessians(device, target, 0, row);
        }
        double trace = 0;
        for (Of each : all) {
            trace += trace(device, each.sum(), row);
        }
        return new ExpertHessians(device, null, (float) (trace * scale / n), row);
    }

    /** @param row F32 [1, n], overwritten */
    private static double trace(Device device, Tensor matrix, Tensor row) {
        try (TensorArena arena = device.arena()) {
            Tensor ones = arena.vector(DType.F32, row.columns());
            Tensor sum = arena.matrix(DType.F64, 1, 1);
            device.matrix().fill(ones, 1);
            device.matrix().diagonal(matrix, row);
            device.matrix().dot(row, ones, sum);
            return HostVectors.doubles(device, sum)[0];
        }
    }

    /** w, of an expert that so many tokens pass. */
    static double share(long tokens, long inputs) {
        return Math.max(0, 1 - (double) tokens / inputs);
    }

    /** An expert's sum becomes its Hessian, upper triangle: over its own tokens, drawn towards the target. */
    void complete(Tensor sum, long tokens, long totalTokens) {
        double weight = share(tokens, sum.rows());
        device.neural().scale(sum, tokens == 0 ? 0 : (float) ((1 - weight) * totalTokens / tokens));
        if (weight == 0) {
            return;
        }
        if (target != null) {
            try (TensorArena arena = device.arena()) {
                Tensor share = arena.matrix(DType.F32, sum.rows(), sum.columns());
                device.matrix().copy(target, share);
                device.neural().scale(share, (float) weight);
                device.neural().add(sum, share);
                // Scratch memory must outlive the ops that read it.
                device.synchronize();
            }
            return;
        }
        try (TensorArena arena = device.arena()) {
            Tensor share = arena.vector(DType.F32, sum.rows());
            device.matrix().fill(share, (float) weight * diagonal);
            device.matrix().diagonal(sum, row);
            device.neural().add(row, share);
            device.matrix().setDiagonal(sum, row);
            device.synchronize();
        }
    }
}
