package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite.Kind;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * Shrinkage of the Hessians of a layer's experts that receive few tokens: H = (1 - w) H_e + w T with w = max(0, 1 -
 * tokens / n), so that n tokens, which an n x n Hessian needs for full rank, are enough, and an expert without any has T
 * alone. For inputs of experts T is the mean over all tokens of all experts; the activations inside an expert are not
 * comparable with others, and T is the mean of the diagonal times the identity (Ledoit and Wolf 2004, section 2).
 */
final class ExpertHessians {

    private final Device device;
    /** F32 [n, n], upper triangle: the sum over all; null where a multiple of the identity is enough. */
    private final @Nullable Tensor target;
    /** F32 [1, n]. */
    private final Tensor row;
    private double trace;
    private long passed;
    /** Whether the target is a mean already. */
    private boolean complete;

    /**
     * Without any expert.
     *
     * @param arena owns what is kept
     * @param kind of site
     * @param n its width
     */
    ExpertHessians(Device device, TensorArena arena, Kind kind, long n) {
        this.device = device;
        this.row = arena.vector(DType.F32, n);
        this.target = kind == Kind.EXPERT_INPUT ? arena.matrix(DType.F32, n, n) : null;
        if (target != null) {
            device.matrix().fill(target, 0);
        }
    }

    /**
     * Device memory of a block's means, and of what an expert takes of one while its Hessian is completed.
     *
     * @param kinds of token weights, each with means of its own
     */
    static long bytes(BlockSpec block, int kinds) {
        return (kinds + 1) * block.sites().stream().filter(site -> site.kind() == Kind.EXPERT_INPUT)
                .mapToLong(site -> (long) Float.BYTES * block.inputs(site) * block.inputs(site)).max().orElse(0);
    }

    /**
     * Adds the next expert's.
     *
     * @param sum 2 / N sum_t x_t x_t^T over its tokens, N those of all: upper triangle
     */
    void add(Tensor sum, long tokens) {
        passed += tokens;
        if (target != null) {
            device.neural().add(target, sum);
        } else {
            trace += trace(device, sum, row);
        }
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

    /** After the last add(): an expert's sum becomes its Hessian, upper triangle: over its own tokens, drawn towards the target. */
    void complete(Tensor sum, long tokens, long totalTokens) {
        if (!complete && target != null && passed > 0) {
            device.neural().scale(target, scale(totalTokens));
        }
        complete = true;
        double weight = share(tokens, sum.rows());
        device.neural().scale(sum, tokens == 0 ? 0 : (float) ((1 - weight) * totalTokens / tokens));
        if (weight == 0) {
            return;
        }
        if (target != null && passed > 0) {
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
            device.matrix().fill(share, (float) weight * diagonal(totalTokens));
            device.matrix().diagonal(sum, row);
            device.neural().add(row, share);
            device.matrix().setDiagonal(sum, row);
            device.synchronize();
        }
    }

    private float scale(long totalTokens) {
        return (float) ((double) totalTokens / passed);
    }

    /** Of the identity that is the target: the mean of the mean's diagonal; 1 where no expert has any token. */
    private float diagonal(long totalTokens) {
        return passed == 0 ? 1 : (float) (trace * scale(totalTokens) / row.columns());
    }
}
