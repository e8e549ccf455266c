package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.HalfVectors;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/**
 * A linear of few rows in F32 with weights as they are stored in BF16 or F16, where reading them takes the time: half of what their
 * copy in F32 would take. Some of them at a time are widened in the cache, so that it is as exact as that. An output is summed by one
 * thread: the bits do not depend on their number.
 */
final class CpuStoredRows {

    /** Rows from which widening all weights for a matmul is faster. */
    private static final long ROWS = 8;
    /** Outputs that share the loads of a row, and those of a task. */
    private static final int TOGETHER = 4;
    private static final long TASK = 256;

    private CpuStoredRows() {}

    static boolean takes(Tensor x, Tensor w) {
        return x.dtype() == DType.F32 && w.dtype() != DType.F32 && x.rows() <= ROWS && !w.memory().isMapped();
    }

    /** y = x w^T + bias + beta y. */
    static void linear(Parallel parallel, Tensor x, Tensor w, @Nullable Tensor bias, float beta, Tensor y) {
        int columns = Math.toIntExact(x.columns());
        parallel.forRanges(y.columns(), TASK, (from, to) -> {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment wide = arena.allocate(4L * TOGETHER * Math.max(1, columns), 64);
                float[] sums = new float[TOGETHER];
                for (long output = from; output < to; output += TOGETHER) {
                    int count = (int) Math.min(TOGETHER, to - output);
                    if (x.rows() == 1 && count == TOGETHER && w.dtype() == DType.BF16) {
                        multiplyBf16(x.memory(), w, output, columns, sums);
                        write(sums, count, bias, beta, y, 0, output);
                        continue;
                    }
                    widen(w, output, count, columns, wide);
                    for (long row = 0; row < x.rows(); row++) {
                        multiply(x.memory(), Memory.row(x, row), wide, columns, sums);
                        write(sums, count, bias, beta, y, row, output);
                    }
                }
            }
        });
    }

    private static void widen(Tensor w, long output, int count, int columns, MemorySegment wide) {
        for (int i = 0; i < count; i++) {
            if (w.dtype() == DType.BF16) {
                HalfVectors.widenBf16(w.memory(), Memory.row(w, output + i), wide, 4L * i * columns, columns);
            } else {
                HalfVectors.widenFloat16(w.memory(), Memory.row(w, output + i), wide, 4L * i * columns, columns);
            }
        }
    }

    /** Sums of one row and four outputs; of outputs that are not there nobody asks for. */
    private static void multiply(MemorySegment x, long at, MemorySegment wide, int columns, float[] sums) {
        FloatVector sum0 = FloatVector.zero(SPECIES);
        FloatVector sum1 = sum0;
        FloatVector sum2 = sum0;
        FloatVector sum3 = sum0;
        long apart = 4L * columns;
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector in = Memory.load(x, at + 4L * c);
            sum0 = Memory.load(wide, 4L * c).fma(in, sum0);
            sum1 = Memory.load(wide, apart + 4L * c).fma(in, sum1);
            sum2 = Memory.load(wide, 2 * apart + 4L * c).fma(in, sum2);
            sum3 = Memory.load(wide, 3 * apart + 4L * c).fma(in, sum3);
        }
        sums[0] = sum0.reduceLanes(VectorOperators.ADD);
        sums[1] = sum1.reduceLanes(VectorOperators.ADD);
        sums[2] = sum2.reduceLanes(VectorOperators.ADD);
        sums[3] = sum3.reduceLanes(VectorOperators.ADD);
        for (; c < columns; c++) {
            float in = x.get(Memory.FLOAT, at + 4L * c);
            for (int i = 0; i < TOGETHER; i++) {
                sums[i] = Math.fma(wide.get(Memory.FLOAT, i * apart + 4L * c), in, sums[i]);
            }
        }
    }

    /** The same from BF16 at once, with the same bits: for one row the copy would take half of the time. */
    private static void multiplyBf16(MemorySegment x, Tensor w, long output, int columns, float[] sums) {
        MemorySegment weights = w.memory();
        long first = Memory.row(w, output);
        long apart = 2 * w.stride();
        FloatVector sum0 = FloatVector.zero(SPECIES);
        FloatVector sum1 = sum0;
        FloatVector sum2 = sum0;
        FloatVector sum3 = sum0;
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector in = Memory.load(x, 4L * c);
            long at = first + 2L * c;
            sum0 = HalfVectors.bf16(weights, at).fma(in, sum0);
            sum1 = HalfVectors.bf16(weights, at + apart).fma(in, sum1);
            sum2 = HalfVectors.bf16(weights, at + 2 * apart).fma(in, sum2);
            sum3 = HalfVectors.bf16(weights, at + 3 * apart).fma(in, sum3);
        }
        sums[0] = sum0.reduceLanes(VectorOperators.ADD);
        sums[1] = sum1.reduceLanes(VectorOperators.ADD);
        sums[2] = sum2.reduceLanes(VectorOperators.ADD);
        sums[3] = sum3.reduceLanes(VectorOperators.ADD);
        for (; c < columns; c++) {
            float in = x.get(Memory.FLOAT, 4L * c);
            for (int i = 0; i < TOGETHER; i++) {
                sums[i] = Math.fma(FloatRounding.bf16ToFloat(weights.get(Memory.SHORT, first + i * apart + 2L * c)), in,
                        sums[i]);
            }
        }
    }

    private static void write(float[] sums, int count, @Nullable Tensor bias, float beta, Tensor y, long row,
            long output) {
        long at = Memory.row(y, row);
        for (int i = 0; i < count; i++) {
            float sum = sums[i] + (bias == null ? 0 : bias.memory().get(Memory.FLOAT, 4 * (output + i)));
            long place = at + 4 * (output + i);
            y.memory().set(Memory.FLOAT, place,
                    beta == 0 ? sum : Math.fma(beta, y.memory().get(Memory.FLOAT, place), sum));
        }
    }
}
