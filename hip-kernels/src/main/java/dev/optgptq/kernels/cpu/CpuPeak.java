package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicInteger;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The largest magnitude, rows in parallel: magnitudes of floats of one format have the order of their bits, NaN at the top. */
final class CpuPeak {

    private static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, SPECIES.vectorShape());
    private static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, SPECIES.vectorShape());

    private CpuPeak() {}

    static void run(Parallel parallel, Tensor x, Tensor peak) {
        int columns = Math.toIntExact(x.columns());
        AtomicInteger largest = new AtomicInteger();
        Rows.forEach(parallel, x, row -> {
            int inRow = x.dtype() == DType.F32
                    ? ints(x.memory(), Memory.row(x, row), columns)
                    : shorts(x.memory(), Memory.row(x, row), columns);
            if (inRow > largest.getPlain()) {
                largest.accumulateAndGet(inRow, Math::max);
            }
        });
        float found = value(x.dtype(), largest.get());
        float before = peak.memory().get(Memory.FLOAT, 0);
        peak.memory().set(Memory.FLOAT, 0, Float.isNaN(found) ? Float.POSITIVE_INFINITY : Math.max(before, found));
    }

    private static float value(DType dtype, int bits) {
        return switch (dtype) {
            case F32 -> Float.intBitsToFloat(bits);
            case F16 -> Float.float16ToFloat((short) bits);
            case BF16 -> FloatRounding.bf16ToFloat((short) bits);
            default -> throw new IllegalArgumentException("expected F32, F16 or BF16, found " + dtype);
        };
    }

    private static int ints(MemorySegment x, long at, int columns) {
        IntVector largest = IntVector.zero(INTS);
        int c = 0;
        for (; c <= columns - INTS.length(); c += INTS.length()) {
            largest = largest
                    .max(IntVector.fromMemorySegment(INTS, x, at + 4L * c, LITTLE_ENDIAN).and(Integer.MAX_VALUE));
        }
        int found = largest.reduceLanes(VectorOperators.MAX);
        for (; c < columns; c++) {
            found = Math.max(found, x.get(Memory.INT, at + 4L * c) & Integer.MAX_VALUE);
        }
        return found;
    }

    private static int shorts(MemorySegment x, long at, int columns) {
        ShortVector largest = ShortVector.zero(SHORTS);
        int c = 0;
        for (; c <= columns - SHORTS.length(); c += SHORTS.length()) {
            largest = largest
                    .max(ShortVector.fromMemorySegment(SHORTS, x, at + 2L * c, LITTLE_ENDIAN).and(Short.MAX_VALUE));
        }
        int found = largest.reduceLanes(VectorOperators.MAX);
        for (; c < columns; c++) {
            found = Math.max(found, x.get(Memory.SHORT, at + 2L * c) & Short.MAX_VALUE);
        }
        return found;
    }
}
