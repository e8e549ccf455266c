package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** scale, softcap and clamp with their gradients, in place; rows in parallel. */
final class CpuLimits {

    private CpuLimits() {}

    static void scale(Parallel parallel, Tensor x, float factor) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> scaleRow(x.memory(), Memory.row(x, row), factor, columns));
    }

    /** x *= factor in one row. */
    static void scaleRow(MemorySegment x, long at, float factor, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(x, at + 4L * c).mul(factor), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(x, at + 4L * c, lanes).mul(factor), x, at + 4L * c, lanes);
        }
    }

    static void softcap(Parallel parallel, Tensor x, float cap) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> softcapRow(x.memory(), Memory.row(x, row), cap, columns));
    }

    private static void softcapRow(MemorySegment x, long at, float cap, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(VectorMath.tanh(Memory.load(x, at + 4L * c).div(cap)).mul(cap), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(VectorMath.tanh(Memory.load(x, at + 4L * c, lanes).div(cap)).mul(cap), x, at + 4L * c, lanes);
        }
    }

    /** d *= 1 - (y / cap)^2. */
    static void softcapGradient(Parallel parallel, Tensor y, float cap, Tensor d) {
        int columns = Math.toIntExact(y.columns());
        Rows.forEach(parallel, y, row -> {
            long yAt = Memory.row(y, row);
            long dAt = Memory.row(d, row);
            for (int c = 0; c < columns; c += LANES) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                FloatVector t = Memory.load(y.memory(), yAt + 4L * c, lanes).div(cap);
                FloatVector one = FloatVector.broadcast(SPECIES, 1);
                FloatVector rise = one.sub(t).mul(one.add(t));
                Memory.store(Memory.load(d.memory(), dAt + 4L * c, lanes).mul(rise), d.memory(), dAt + 4L * c, lanes);
            }
        });
    }

    static void clamp(Parallel parallel, Tensor x, float limit) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> {
            long at = Memory.row(x, row);
            for (int c = 0; c < columns; c += LANES) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                Memory.store(clamped(Memory.load(x.memory(), at + 4L * c, lanes), limit), x.memory(), at + 4L * c,
                        lanes);
            }
        });
    }

    /** NaN stays. */
    static FloatVector clamped(FloatVector x, float limit) {
        return x.blend(limit, x.compare(VectorOperators.GT, limit)).blend(-limit,
                x.compare(VectorOperators.LT, -limit));
    }

    /** d = 0 where |x| > limit. */
    static void clampGradient(Parallel parallel, Tensor x, float limit, Tensor d) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> {
            long xAt = Memory.row(x, row);
            long dAt = Memory.row(d, row);
            for (int c = 0; c < columns; c += LANES) {
                VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
                VectorMask<Float> cut = Memory.load(x.memory(), xAt + 4L * c, lanes).abs()
                        .compare(VectorOperators.GT, limit);
                Memory.store(Memory.load(d.memory(), dAt + 4L * c, lanes).blend(0f, cut), d.memory(), dAt + 4L * c,
                        lanes);
            }
        });
    }
}
