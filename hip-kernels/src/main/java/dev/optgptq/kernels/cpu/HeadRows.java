package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;

/** Moves rows of an F32 tensor into and out of a float array. */
final class HeadRows {

    private HeadRows() {}

    /** target[targetStart + r * targetStride + c] = source[first + r, c]. */
    static void pack(Tensor source, int first, int rows, float[] target, int targetStart,
            int targetStride) {
        MemorySegment memory = source.memory();
        int columns = (int) source.columns();
        for (int r = 0; r < rows; r++) {
            long offset = (first + r) * source.stride() * Float.BYTES;
            int start = targetStart + r * targetStride;
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                FloatVector.fromMemorySegment(SPECIES, memory, offset + (long) c * Float.BYTES, ByteOrder.LITTLE_ENDIAN)
                        .intoArray(target, start + c);
            }
            for (; c < columns; c++) {
                target[start + c] = memory.get(Memory.FLOAT, offset + (long) c * Float.BYTES);
            }
        }
    }

    /** target[row, c] = source[c]. */
    static void unpack(float[] source, Tensor target, int row) {
        MemorySegment memory = target.memory();
        int columns = (int) target.columns();
        long offset = row * target.stride() * Float.BYTES;
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector.fromArray(SPECIES, source, c).intoMemorySegment(memory, offset + (long) c * Float.BYTES,
                    ByteOrder.LITTLE_ENDIAN);
        }
        for (; c < columns; c++) {
            memory.set(Memory.FLOAT, offset + (long) c * Float.BYTES, source[c]);
        }
    }
}
