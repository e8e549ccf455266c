package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorMask;

/** Sums and products, element by element, in place; rows in parallel. */
final class CpuElementwise {

    private CpuElementwise() {}

    static void add(Parallel parallel, Tensor x, Tensor y) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x,
                row -> addRow(x.memory(), Memory.row(x, row), y.memory(), Memory.row(y, row), columns));
    }

    static void addRow(Parallel parallel, Tensor x, Tensor y) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> addRow(x.memory(), Memory.row(x, row), y.memory(), 0, columns));
    }

    /** x += y in one row. */
    static void addRow(MemorySegment x, long xAt, MemorySegment y, long yAt, int columns) {
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
    static void multiplyRow(MemorySegment x, long xAt, MemorySegment y, long yAt, int columns) {
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
}
