package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.LongAdder;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Counts NaN and infinity, rows in parallel: in every format, the values whose exponent bits are all set. */
final class CpuFiniteCheck {

    private static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, SPECIES.vectorShape());
    private static final short FLOAT16_EXPONENT = 0x7c00;
    private static final short BF16_EXPONENT = 0x7f80;

    private CpuFiniteCheck() {}

    static void count(Parallel parallel, Tensor x, Tensor count) {
        int columns = Math.toIntExact(x.columns());
        LongAdder found = new LongAdder();
        Rows.forEach(parallel, x, row -> {
            int inRow = countRow(x, Memory.row(x, row), columns);
            if (inRow > 0) {
                found.add(inRow);
            }
        });
        count.memory().set(Memory.LONG, 0, found.sum());
    }

    private static int countRow(Tensor x, long at, int columns) {
        return switch (x.dtype()) {
            case F32 -> floats(x.memory(), at, columns);
            case F16 -> shorts(x.memory(), at, columns, FLOAT16_EXPONENT);
            case BF16 -> shorts(x.memory(), at, columns, BF16_EXPONENT);
            case F64 -> doubles(x.memory(), at, columns);
            default -> throw new IllegalArgumentException("not a float dtype: " + x);
        };
    }

    private static int floats(MemorySegment x, long at, int columns) {
        int found = 0;
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            found += LANES - Memory.load(x, at + 4L * c).test(VectorOperators.IS_FINITE).trueCount();
        }
        for (; c < columns; c++) {
            found += Float.isFinite(x.get(Memory.FLOAT, at + 4L * c)) ? 0 : 1;
        }
        return found;
    }

    private static int shorts(MemorySegment x, long at, int columns, short exponent) {
        int found = 0;
        int c = 0;
        for (; c <= columns - SHORTS.length(); c += SHORTS.length()) {
            found += ShortVector.fromMemorySegment(SHORTS, x, at + 2L * c, LITTLE_ENDIAN).and(exponent)
                    .compare(VectorOperators.EQ, exponent).trueCount();
        }
        for (; c < columns; c++) {
            found += (x.get(Memory.SHORT, at + 2L * c) & exponent) == exponent ? 1 : 0;
        }
        return found;
    }

    private static int doubles(MemorySegment x, long at, int columns) {
        int found = 0;
        for (int c = 0; c < columns; c++) {
            found += Double.isFinite(x.get(Memory.DOUBLE, at + 8L * c)) ? 0 : 1;
        }
        return found;
    }
}
