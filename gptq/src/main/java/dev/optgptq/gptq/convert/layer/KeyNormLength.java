package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.model.HeadNorms;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;

/**
 * A norm over all key heads together divides by another length once there are fewer heads: each key by rms(shared heads) in the place of
 * rms(all heads). What the two differ by on the average goes into the norm's weights; what they differ by at one token beyond that
 * no weight can undo.
 */
record KeyNormLength(LayerSource source) {

    /**
     * A merge with weights of that norm times E[rms(shared) / rms(all)]; the same where there is no such norm.
     *
     * @param which sequences of the original stream
     */
    LayerMerge corrected(LayerMerge merge, int[] which) {
        Matrix weights = merge.weights().keyNorm();
        NormWeights norm = source.attention().norms().key();
        return weights == null || norm == null || norm.spec().grouped()
                ? merge
                : merge.withKeyNorm(weights.times(ratio(merge, which)));
    }

    private double ratio(LayerMerge merge, int[] which) {
        Sequences sequences = source.sequences();
        Device device = source.device();
        double[] sum = {0, 0};
        try (TensorArena arena = device.arena()) {
            LayerAttention all = withoutNorms(source.attention());
            LayerAttention shared = withoutNorms(
                    new GroupedWeights(new HostCopies(device)).attention(source.attention(), merge.weights(), arena));
            Tensor buffer = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            Tensor normed = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            sequences.each(which, (at, batch) -> {
                Tensor x = sequences.read(device, sequences.original(), batch, buffer);
                Tensor input = normed.rows(0, x.rows());
                source.original().normed(x, input);
                float[] ofShared = meanSquares(shared, input);
                float[] ofAll = meanSquares(all, input);
                for (int token = 0; token < ofAll.length; token++) {
                    if (ofAll[token] > 0) {
                        sum[0] += Math.sqrt(ofShared[token] / ofAll[token]);
                        sum[1]++;
                    }
                }
            });
        }
        return sum[1] > 0 ? sum[0] / sum[1] : 1;
    }

    private static LayerAttention withoutNorms(LayerAttention attention) {
        return new LayerAttention(attention.device(), attention.shape(), attention.positions(), attention.parts(),
                HeadNorms.NONE);
    }

    /** Of the keys of each token, all heads together. */
    private static float[] meanSquares(LayerAttention attention, Tensor x) {
        Device device = attention.device();
        int width = attention.shape().kvHeads() * attention.headDim();
        try (TensorArena scratch = device.arena()) {
            Tensor keys = scratch.matrix(DType.F32, x.rows(), width);
            Tensor means = scratch.vector(DType.F32, x.rows());
            attention.keys(x, keys);
            device.matrix().fill(means, 0);
            device.gradient().addSquares(1f / width, keys, means);
            return HostVectors.floats(device, means);
        }
    }
}
