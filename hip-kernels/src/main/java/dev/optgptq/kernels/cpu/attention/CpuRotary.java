package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.lang.foreign.MemorySegment;
import java.util.function.LongUnaryOperator;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;

/** Rotary embedding, rows in parallel. */
public final class CpuRotary {

    private static final VectorShuffle<Float> EVEN = VectorShuffle.makeUnzip(SPECIES, 0);
    private static final VectorShuffle<Float> ODD = VectorShuffle.makeUnzip(SPECIES, 1);
    private static final VectorShuffle<Float> LOWER = VectorShuffle.makeZip(SPECIES, 0);
    private static final VectorShuffle<Float> UPPER = VectorShuffle.makeZip(SPECIES, 1);

    private CpuRotary() {}

    public static void rotate(Parallel parallel, Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        turn(parallel, x, headDim, cos, sin, row -> row % cos.rows(), layout, 1);
    }

    /** With a position for each row: positions I32 [1, N]. */
    public static void rotate(Parallel parallel, Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions,
            RotaryLayout layout) {
        turn(parallel, x, headDim, cos, sin, row -> positions.memory().get(Memory.INT, row * Integer.BYTES), layout, 1);
    }

    /** The inverse rotation, which is also the transposed one. */
    public static void rotateBack(Parallel parallel, Tensor x, int headDim, Tensor cos, Tensor sin,
            RotaryLayout layout) {
        turn(parallel, x, headDim, cos, sin, row -> row % cos.rows(), layout, -1);
    }

    /**
     * @param position of each row
     * @param sign of the angle, 1 or -1
     */
    private static void turn(Parallel parallel, Tensor x, int headDim, Tensor cos, Tensor sin,
            LongUnaryOperator position, RotaryLayout layout, float sign) {
        int pairs = Math.toIntExact(cos.columns());
        Rows.forEach(parallel, x, row -> {
            long cosAt = Memory.row(cos, position.applyAsLong(row));
            long sinAt = Memory.row(sin, position.applyAsLong(row));
            long at = Memory.row(x, row);
            for (long head = 0; head < x.columns(); head += headDim) {
                switch (layout) {
                    case HALF -> half(x.memory(), at + 4 * head, pairs, cos.memory(), cosAt, sin.memory(), sinAt, sign);
                    case INTERLEAVED ->
                        interleaved(x.memory(), at + 4 * head, pairs, cos.memory(), cosAt, sin.memory(), sinAt, sign);
                }
            }
        });
    }

    private static void half(MemorySegment x, long at, int pairs, MemorySegment cos, long cosAt, MemorySegment sin,
            long sinAt, float sign) {
        long second = at + 4L * pairs;
        int i = 0;
        for (; i <= pairs - LANES; i += LANES) {
            FloatVector a = Memory.load(x, at + 4L * i);
            FloatVector b = Memory.load(x, second + 4L * i);
            FloatVector c = Memory.load(cos, cosAt + 4L * i);
            FloatVector s = Memory.load(sin, sinAt + 4L * i).mul(sign);
            Memory.store(a.mul(c).sub(b.mul(s)), x, at + 4L * i);
            Memory.store(b.mul(c).add(a.mul(s)), x, second + 4L * i);
        }
        if (i < pairs) {
            VectorMask<Float> lanes = SPECIES.indexInRange(i, pairs);
            FloatVector a = Memory.load(x, at + 4L * i, lanes);
            FloatVector b = Memory.load(x, second + 4L * i, lanes);
            FloatVector c = Memory.load(cos, cosAt + 4L * i, lanes);
            FloatVector s = Memory.load(sin, sinAt + 4L * i, lanes).mul(sign);
            Memory.store(a.mul(c).sub(b.mul(s)), x, at + 4L * i, lanes);
            Memory.store(b.mul(c).add(a.mul(s)), x, second + 4L * i, lanes);
        }
    }

    private static void interleaved(MemorySegment x, long at, int pairs, MemorySegment cos, long cosAt,
            MemorySegment sin, long sinAt, float sign) {
        int i = 0;
        for (; i <= pairs - LANES; i += LANES) {
            FloatVector first = Memory.load(x, at + 8L * i);
            FloatVector second = Memory.load(x, at + 8L * i + 4L * LANES);
            FloatVector a = first.rearrange(EVEN, second);
            FloatVector b = first.rearrange(ODD, second);
            FloatVector c = Memory.load(cos, cosAt + 4L * i);
            FloatVector s = Memory.load(sin, sinAt + 4L * i).mul(sign);
            FloatVector turnedA = a.mul(c).sub(b.mul(s));
            FloatVector turnedB = b.mul(c).add(a.mul(s));
            Memory.store(turnedA.rearrange(LOWER, turnedB), x, at + 8L * i);
            Memory.store(turnedA.rearrange(UPPER, turnedB), x, at + 8L * i + 4L * LANES);
        }
        for (; i < pairs; i++) {
            float a = x.get(Memory.FLOAT, at + 8L * i);
            float b = x.get(Memory.FLOAT, at + 8L * i + 4);
            float c = cos.get(Memory.FLOAT, cosAt + 4L * i);
            float s = sign * sin.get(Memory.FLOAT, sinAt + 4L * i);
            x.set(Memory.FLOAT, at + 8L * i, a * c - b * s);
            x.set(Memory.FLOAT, at + 8L * i + 4, b * c + a * s);
        }
    }
}
