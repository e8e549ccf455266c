package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.NeuralOps.RotaryLayout;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;

/** Rotary embedding, rows in parallel. */
final class CpuRotary {

    /** Interleaved pairs: a vector holds PAIRS of them. */
    private static final int PAIRS = LANES / 2;
    private static final VectorShuffle<Float> SWAP_IN_PAIR = VectorShuffle.fromOp(SPECIES, lane -> lane ^ 1);
    private static final VectorShuffle<Float> TWICE_EACH = VectorShuffle.fromOp(SPECIES, lane -> lane / 2);
    private static final VectorMask<Float> FIRST_OF_PAIR = VectorMask.fromLong(SPECIES, 0x5555_5555_5555_5555L);

    private CpuRotary() {}

    static void rotate(Parallel parallel, Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        int pairs = Math.toIntExact(cos.columns());
        Rows.forEach(parallel, x, row -> {
            long cosAt = Memory.row(cos, row % cos.rows());
            long sinAt = Memory.row(sin, row % cos.rows());
            long at = Memory.row(x, row);
            for (long head = 0; head < x.columns(); head += headDim) {
                switch (layout) {
                    case HALF -> half(x.memory(), at + 4 * head, pairs, cos.memory(), cosAt, sin.memory(), sinAt);
                    case INTERLEAVED ->
                        interleaved(x.memory(), at + 4 * head, pairs, cos.memory(), cosAt, sin.memory(), sinAt);
                }
            }
        });
    }

    private static void half(MemorySegment x, long at, int pairs, MemorySegment cos, long cosAt, MemorySegment sin,
            long sinAt) {
        long second = at + 4L * pairs;
        int i = 0;
        for (; i <= pairs - LANES; i += LANES) {
            FloatVector a = Memory.load(x, at + 4L * i);
            FloatVector b = Memory.load(x, second + 4L * i);
            FloatVector c = Memory.load(cos, cosAt + 4L * i);
            FloatVector s = Memory.load(sin, sinAt + 4L * i);
            Memory.store(a.mul(c).sub(b.mul(s)), x, at + 4L * i);
            Memory.store(b.mul(c).add(a.mul(s)), x, second + 4L * i);
        }
        if (i < pairs) {
            VectorMask<Float> lanes = SPECIES.indexInRange(i, pairs);
            FloatVector a = Memory.load(x, at + 4L * i, lanes);
            FloatVector b = Memory.load(x, second + 4L * i, lanes);
            FloatVector c = Memory.load(cos, cosAt + 4L * i, lanes);
            FloatVector s = Memory.load(sin, sinAt + 4L * i, lanes);
            Memory.store(a.mul(c).sub(b.mul(s)), x, at + 4L * i, lanes);
            Memory.store(b.mul(c).add(a.mul(s)), x, second + 4L * i, lanes);
        }
    }

    private static void interleaved(MemorySegment x, long at, int pairs, MemorySegment cos, long cosAt,
            MemorySegment sin, long sinAt) {
        for (int i = 0; i < pairs; i += PAIRS) {
            VectorMask<Float> half = SPECIES.indexInRange(i, Math.min(pairs, i + PAIRS));
            VectorMask<Float> lanes = SPECIES.indexInRange(2 * i, 2 * pairs);
            FloatVector own = Memory.load(x, at + 8L * i, lanes);
            FloatVector other = own.rearrange(SWAP_IN_PAIR);
            FloatVector c = Memory.load(cos, cosAt + 4L * i, half).rearrange(TWICE_EACH);
            FloatVector s = Memory.load(sin, sinAt + 4L * i, half).rearrange(TWICE_EACH);
            FloatVector signed = s.blend(s.neg(), FIRST_OF_PAIR);
            Memory.store(own.mul(c).add(other.mul(signed)), x, at + 8L * i, lanes);
        }
    }
}
