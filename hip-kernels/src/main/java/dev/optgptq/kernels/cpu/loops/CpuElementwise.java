package dev.optgptq.kernels.cpu.loops;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** Sums and products, element by element, in place; rows in parallel. */
public final class CpuElementwise {

    private CpuElementwise() {}

    public static void add(Parallel parallel, Tensor x, Tensor y) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x,
                row -> addRow(x.memory(), Memory.row(x, row), y.memory(), Memory.row(y, row), columns));
    }

    public static void addRow(Parallel parallel, Tensor x, Tensor y) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> addRow(x.memory(), Memory.row(x, row), y.memory(), 0, columns));
    }

    /** x += y in one row. */
    public static void addRow(MemorySegment x, long xAt, MemorySegment y, long yAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(x, xAt + 4L * c).add(Memory.load(y, yAt + 4L * c)), x, xAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(x, xAt + 4L * c, lanes).add(Memory.load(y, yAt + 4L * c, lanes)), x,
                    xAt + 4L * c, lanes);
        }
    }

    /** x *= y in one row. */
    public static void multiplyRow(MemorySegment x, long xAt, MemorySegment y, long yAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(x, xAt + 4L * c).mul(Memory.load(y, yAt + 4L * c)), x, xAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(x, xAt + 4L * c, lanes).mul(Memory.load(y, yAt + 4L * c, lanes)), x,
                    xAt + 4L * c, lanes);
        }
    }

    /** target = a - b; target may be a or b. */
    public static void subtract(Parallel parallel, Tensor a, Tensor b, Tensor target) {
        int columns = Math.toIntExact(a.columns());
        Rows.forEach(parallel, a, row -> subtractRow(a.memory(), Memory.row(a, row), b.memory(), Memory.row(b, row),
                target.memory(), Memory.row(target, row), columns));
    }

    private static void subtractRow(MemorySegment a, long aAt, MemorySegment b, long bAt, MemorySegment target,
            long targetAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(a, aAt + 4L * c).sub(Memory.load(b, bAt + 4L * c)), target, targetAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(a, aAt + 4L * c, lanes).sub(Memory.load(b, bAt + 4L * c, lanes)), target,
                    targetAt + 4L * c, lanes);
        }
    }

    /** x += factor y in one row. */
    public static void addScaledRow(MemorySegment x, long xAt, float factor, MemorySegment y, long yAt, int columns) {
        FloatVector factors = FloatVector.broadcast(SPECIES, factor);
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(y, yAt + 4L * c).fma(factors, Memory.load(x, xAt + 4L * c)), x, xAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(y, yAt + 4L * c, lanes).fma(factors, Memory.load(x, xAt + 4L * c, lanes)), x,
                    xAt + 4L * c, lanes);
        }
    }

    /** x = factor x + y in one row. */
    public static void scaleAddRow(MemorySegment x, long xAt, float factor, MemorySegment y, long yAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(x, xAt + 4L * c).mul(factor).add(Memory.load(y, yAt + 4L * c)), x, xAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(x, xAt + 4L * c, lanes).mul(factor).add(Memory.load(y, yAt + 4L * c, lanes)), x,
                    xAt + 4L * c, lanes);
        }
    }
}
