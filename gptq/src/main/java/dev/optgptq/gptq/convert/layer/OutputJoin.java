package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * How the output o of attention or of an MLP joins the residual stream: x + s o, or x + s w o / rms(o) where an RMS norm follows.
 * Least squares over the projection that makes o are over what joins: the channels' factors s w go into the projection, and
 * 1 / rms(o) is a factor of each token, taken from the original's output. So the norm is kept but for what a change of o does to its own
 * length, which no projection can undo.
 *
 * @param norm null where there is none
 * @param scale s
 */
record OutputJoin(Device device, @Nullable NormWeights norm, float scale) {

    /** A channel with a smaller factor, relative to the largest, says too little about the projection: its row stays. */
    private static final double LEAST_FACTOR = 1e-3;

    static OutputJoin of(LayerSource source, NormSlot after) {
        return new OutputJoin(source.device(), source.original().block().norm(after),
                source.original().block().spec().residualScale());
    }

    /** Whether o is added as it is. */
    boolean isPlain() {
        return norm == null && scale == 1;
    }

    /** Whether tokens have factors of their own. */
    boolean isNormed() {
        return norm != null;
    }

    /**
     * y += what o F32 [N, hidden] adds to the stream.
     *
     * @param y F32, as o
     */
    void add(Tensor o, Tensor y) {
        try (TensorArena scratch = device.arena()) {
            Tensor added = scratch.matrix(DType.F32, o.rows(), o.columns());
            if (norm == null) {
                device.matrix().copy(o, added);
            } else {
                device.neural().rmsNorm(o, norm.factor(device), norm.spec().eps(), added);
            }
            device.neural().scale(added, scale);
            device.neural().add(y, added);
            device.synchronize();
        }
    }

    /** 1 / rms(o) of each token, F32 [1, N], the arena's; there must be a norm. */
    private Tensor tokenFactors(Tensor o, TensorArena arena) {
        float eps = norm == null ? 0 : norm.spec().eps();
        Tensor factors = arena.vector(DType.F32, o.rows());
        try (TensorArena scratch = device.arena()) {
            Tensor means = scratch.vector(DType.F32, o.rows());
            device.matrix().fill(means, 0);
            device.gradient().addSquares(1f / o.columns(), o, means);
            float[] found = HostVectors.floats(device, means);
            new HostCopies(device).upload(Matrix.generate(1, found.length, (i, j) -> 1 / Math.sqrt(found[j] + eps)),
                    factors);
        }
        return factors;
    }

    /**
     * Takes from a target what a bias that stays adds to it.
     *
     * @param o the original's output, whose factors of tokens are returned
     * @param bias as it joins, [1, hidden]; null where there is none
     */
    Tensor lessBias(Tensor o, @Nullable Tensor bias, Tensor target, TensorArena arena) {
        Tensor factors = tokenFactors(o, arena);
        if (bias != null) {
            device.matrix().gemm(-1, factors, true, bias, false, 1, target);
        }
        return factors;
    }

    /**
     * x with each token times its factor.
     *
     * @param x F32 [N, n], overwritten
     */
    void weigh(Tensor x, Tensor tokenFactors) {
        try (TensorArena scratch = device.arena()) {
            Tensor weighed = scratch.matrix(DType.F32, x.rows(), x.columns());
            device.gradient().scaleRows(x, tokenFactors, weighed);
            device.matrix().copy(weighed, x);
            device.synchronize();
        }
    }

    /** s w, or s for all of so many channels. */
    private double[] channelFactors(int hidden) {
        double[] factors = new double[hidden];
        Arrays.fill(factors, scale);
        if (norm != null) {
            Matrix weight = new HostCopies(device).download(norm.factor(device));
            Arrays.setAll(factors, i -> scale * weight.at(0, i));
        }
        return factors;
    }

    /** A projection [m, hidden], or its bias, of what joins. */
    Matrix joined(Matrix projection) {
        double[] factors = channelFactors(projection.columns());
        return Matrix.generate(projection.rows(), projection.columns(), (i, j) -> projection.at(i, j) * factors[j]);
    }

    /**
     * The inverse of joined.
     *
     * @param before what channels without much of a factor keep
     */
    Matrix apart(Matrix joined, Matrix before) {
        double[] factors = channelFactors(joined.columns());
        double least = LEAST_FACTOR * Arrays.stream(factors).map(Math::abs).max().orElse(0);
        return Matrix.generate(joined.rows(), joined.columns(),
                (i, j) -> Math.abs(factors[j]) <= least ? before.at(i, j) : joined.at(i, j) / factors[j]);
    }
}
