package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Scores;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * How the original's ALiBi differs from the converted layer's: a bias of slope times the key's position, which stands beside
 * q . k as one more element of every head. What is the same for all keys of a query does not count.
 */
final class BiasErrors {

    private final Device device;
    private final int length;
    private final int headDim;
    /** Per query head, the original's less the converted one's, over the scores' scale; all 0 where they agree. */
    private final float[] slopes;

    private BiasErrors(Device device, int length, int headDim, float[] slopes) {
        this.device = device;
        this.length = length;
        this.headDim = headDim;
        this.slopes = slopes;
    }

    static BiasErrors of(LayerAttention original, LayerAttention converted, HostCopies copies) {
        float[] own = original.slopesOnHost(copies);
        float[] other = converted.slopesOnHost(copies);
        float[] slopes = new float[original.shape().heads()];
        for (int head = 0; head < slopes.length; head++) {
            slopes[head] = ((own.length == 0 ? 0 : own[head]) - (other.length == 0 ? 0 : other[head]))
                    / original.shape().scale();
        }
        return new BiasErrors(original.device(), original.shape().sequenceLength(), original.headDim(), slopes);
    }

    private boolean none() {
        for (float slope : slopes) {
            if (slope != 0) {
                return false;
            }
        }
        return true;
    }

    /**
     * The original's scores less the converted one's bias: heads of one element more, where there is any.
     *
     * @param original F32 of a shape, whole sequences
     */
    Scores beside(Scores original, AttentionShape shape, TensorArena scratch) {
        if (none()) {
            return original;
        }
        long n = original.queries().rows();
        int wide = headDim + 1;
        Tensor queries = scratch.matrix(DType.F32, n, (long) slopes.length * wide);
        Tensor keys = scratch.matrix(DType.F32, n, (long) slopes.length * wide);
        Tensor positions = positions(n, scratch);
        Tensor ownKeys = SharedHeads.spread(device, shape, original.keys(), scratch);
        for (int head = 0; head < slopes.length; head++) {
            long from = (long) head * headDim;
            long to = (long) head * wide;
            device.matrix().copy(original.queries().columns(from, headDim), queries.columns(to, headDim));
            device.matrix().copy(ownKeys.columns(from, headDim), keys.columns(to, headDim));
            device.matrix().fill(queries.columns(to + headDim, 1), slopes[head]);
            device.matrix().copy(positions, keys.columns(to + headDim, 1));
        }
        return new Scores(queries, keys);
    }

    /** [N, 1]: 0, 1, .. in every sequence. */
    private Tensor positions(long n, TensorArena scratch) {
        Tensor positions = scratch.matrix(DType.F32, n, 1);
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, n);
            for (long row = 0; row < n; row++) {
                values.setAtIndex(ValueLayout.JAVA_FLOAT, row, (float) (row % length));
            }
            device.upload(values, positions);
            device.synchronize();
        }
        return positions;
    }
}
