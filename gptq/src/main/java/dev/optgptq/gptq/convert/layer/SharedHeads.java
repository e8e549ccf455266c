package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;

/** Between key-value heads and the query heads that share them; neighbours share. */
final class SharedHeads {

    private SharedHeads() {}

    /** [N, kvHeads headDim] to [N, heads headDim]: the key-value head of every query head. */
    static Tensor spread(Device device, AttentionShape shape, Tensor shared, TensorArena scratch) {
        int d = shape.headDim();
        int sharing = shape.heads() / shape.kvHeads();
        Tensor spread = scratch.matrix(DType.F32, shared.rows(), (long) shape.heads() * d);
        for (int head = 0; head < shape.heads(); head++) {
            device.matrix().copy(shared.columns((long) (head / sharing) * d, d), spread.columns((long) head * d, d));
        }
        return spread;
    }

    /** [N, heads headDim] to [N, kvHeads headDim]: the sums over the query heads of each key-value head. */
    static Tensor sum(Device device, AttentionShape shape, Tensor byHead, TensorArena scratch) {
        int d = shape.headDim();
        int sharing = shape.heads() / shape.kvHeads();
        Tensor sums = scratch.matrix(DType.F32, byHead.rows(), (long) shape.kvHeads() * d);
        for (int head = 0; head < shape.heads(); head++) {
            Tensor target = sums.columns((long) (head / sharing) * d, d);
            Tensor part = byHead.columns((long) head * d, d);
            if (head % sharing == 0) {
                device.matrix().copy(part, target);
            } else {
                device.neural().add(target, part);
            }
        }
        return sums;
    }
}
