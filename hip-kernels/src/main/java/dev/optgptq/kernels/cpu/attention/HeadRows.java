package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.attention.AttentionKernels.QUERIES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;

/** Moves rows of an F32 tensor into and out of a float array. */
final class HeadRows {

    private static final int[] QUERY_STRIDES = strides(QUERIES);

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

    /**
     * Queries from rows into lanes: target[c * QUERIES + i] = source[i * stride + c] factor, for all lanes and columns.
     *
     * @param strides 0, stride, 2 stride, ..: as many as there are lanes in a vector
     */
    static void toLanes(float[] source, int[] strides, int columns, float factor, float[] target, int targetStart) {
        int half = strides[1] * LANES;
        for (int c = 0; c < columns; c++) {
            int at = targetStart + c * QUERIES;
            FloatVector.fromArray(SPECIES, source, c, strides, 0).mul(factor).intoArray(target, at);
            FloatVector.fromArray(SPECIES, source, half + c, strides, 0).mul(factor).intoArray(target, at + LANES);
        }
    }

    /** QUERIES rows of some columns: target[i * QUERIES + c] = source[first + i * stride + c] factor. */
    static void scale(float[] source, int first, int stride, int columns, float factor, float[] target,
            int targetStart) {
        for (int i = 0; i < QUERIES; i++) {
            int from = first + i * stride;
            int to = targetStart + i * QUERIES;
            int c = 0;
            for (; c <= columns - LANES; c += LANES) {
                FloatVector.fromArray(SPECIES, source, from + c).mul(factor).intoArray(target, to + c);
            }
            for (; c < columns; c++) {
                target[to + c] = source[from + c] * factor;
            }
        }
    }

    /** The other way, for one query: target[c] = source[sourceStart + c * QUERIES] factor; target has whole vectors. */
    static void fromLane(float[] source, int sourceStart, int columns, float factor, float[] target) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            FloatVector.fromArray(SPECIES, source, sourceStart + c * QUERIES, QUERY_STRIDES, 0).mul(factor)
                    .intoArray(target, c);
        }
        for (; c < columns; c++) {
            target[c] = source[sourceStart + c * QUERIES] * factor;
        }
    }

    /** 0, stride, 2 stride, ..: where the lanes of a vector are gathered from. */
    static int[] strides(int stride) {
        int[] strides = new int[LANES];
        for (int i = 0; i < LANES; i++) {
            strides[i] = i * stride;
        }
        return strides;
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
