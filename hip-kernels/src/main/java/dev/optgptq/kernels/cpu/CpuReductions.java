package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.lang.foreign.MemorySegment;
import java.util.function.LongToDoubleFunction;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Sums over a whole matrix, in float64: lanes, then rows, then chunks of rows, always in the same order. */
final class CpuReductions {

    private static final VectorSpecies<Double> DOUBLES = VectorSpecies.of(double.class, SPECIES.vectorShape());
    /** Elements of a task. */
    private static final long TASK_ELEMENTS = 1 << 15;

    private CpuReductions() {}

    static void dot(Parallel parallel, Tensor a, Tensor b, Tensor result) {
        int columns = Math.toIntExact(a.columns());
        result.memory().set(Memory.DOUBLE, 0, sum(parallel, a.rows(), columns,
                row -> dotRow(a.memory(), Memory.row(a, row), b.memory(), Memory.row(b, row), columns)));
    }

    /** The sum of a number for each row. */
    static double sum(Parallel parallel, long count, long columns, LongToDoubleFunction ofRow) {
        long rows = Math.max(1, TASK_ELEMENTS / Math.max(1, columns));
        double[] partial = new double[Math.toIntExact(Math.ceilDiv(count, rows))];
        parallel.forRanges(count, rows, (from, to) -> {
            double sum = 0;
            for (long row = from; row < to; row++) {
                sum += ofRow.applyAsDouble(row);
            }
            partial[(int) (from / rows)] = sum;
        });
        double sum = 0;
        for (double part : partial) {
            sum += part;
        }
        return sum;
    }

    private static double dotRow(MemorySegment a, long aAt, MemorySegment b, long bAt, int columns) {
        DoubleVector low = DoubleVector.zero(DOUBLES);
        DoubleVector high = DoubleVector.zero(DOUBLES);
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector left = Memory.load(a, aAt + 4L * c);
            FloatVector right = Memory.load(b, bAt + 4L * c);
            low = widen(left, 0).fma(widen(right, 0), low);
            high = widen(left, 1).fma(widen(right, 1), high);
        }
        double sum = 0;
        // Not reduceLanes, whose order is not defined.
        for (double lane : low.add(high).toArray()) {
            sum += lane;
        }
        for (; c < columns; c++) {
            sum += (double) a.get(Memory.FLOAT, aAt + 4L * c) * b.get(Memory.FLOAT, bAt + 4L * c);
        }
        return sum;
    }

    private static DoubleVector widen(FloatVector vector, int half) {
        return (DoubleVector) vector.convertShape(VectorOperators.F2D, DOUBLES, half);
    }
}
