package dev.optgptq.kernels.cpu.loops;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/** Elements in memory: little-endian, at any address, since weights lie in mapped files. Offsets are in bytes. */
public final class Memory {

    public static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LITTLE_ENDIAN);
    public static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(LITTLE_ENDIAN);
    public static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(LITTLE_ENDIAN);
    public static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LITTLE_ENDIAN);
    public static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(LITTLE_ENDIAN);

    /** As many ints as a vector has floats. */
    public static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, VectorMath.SPECIES.vectorShape());

    private Memory() {}

    /** Where a row begins. */
    public static long row(Tensor tensor, long row) {
        return row * tensor.stride() * tensor.dtype().bytes();
    }

    public static FloatVector load(MemorySegment memory, long offset) {
        return FloatVector.fromMemorySegment(VectorMath.SPECIES, memory, offset, LITTLE_ENDIAN);
    }

    /** Lanes that are not set are 0 and not read. */
    public static FloatVector load(MemorySegment memory, long offset, VectorMask<Float> lanes) {
        return FloatVector.fromMemorySegment(VectorMath.SPECIES, memory, offset, LITTLE_ENDIAN, lanes);
    }

    public static IntVector loadInts(MemorySegment memory, long offset) {
        return IntVector.fromMemorySegment(INTS, memory, offset, LITTLE_ENDIAN);
    }

    public static void store(FloatVector vector, MemorySegment memory, long offset) {
        vector.intoMemorySegment(memory, offset, LITTLE_ENDIAN);
    }

    /** Lanes that are not set are not written. */
    public static void store(FloatVector vector, MemorySegment memory, long offset, VectorMask<Float> lanes) {
        vector.intoMemorySegment(memory, offset, LITTLE_ENDIAN, lanes);
    }
}
