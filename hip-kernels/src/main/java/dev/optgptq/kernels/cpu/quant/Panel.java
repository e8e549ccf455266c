package dev.optgptq.kernels.cpu.quant;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * A few neighbouring columns (outputs) of a matrix, copied to heap arrays of WIDTH elements a row: rows then lie next to
 * each other in the cache, and no loop needs a tail. Columns beyond the matrix hold 0.
 *
 * @param from first column
 * @param width columns that exist, at most WIDTH
 */
record Panel(long from, int width) {

    /** A power of two and at least four vectors: enough independent sums to hide the latency of an addition. */
    static final int WIDTH = Math.max(64, 4 * LANES);

    static Panel of(long index, long columns) {
        return new Panel(index * WIDTH, (int) Math.min(WIDTH, columns - index * WIDTH));
    }

    static long count(long columns) {
        return Math.ceilDiv(columns, WIDTH);
    }

    /** Rows of an F32 tensor to an array, from its start. */
    void read(Tensor source, float[] into) {
        for (int row = 0; row < source.rows(); row++) {
            readRow(source, row, into, row * WIDTH);
        }
    }

    void readRow(Tensor source, long row, float[] into, int at) {
        MemorySegment.copy(source.memory(), Memory.FLOAT, offset(source, row), into, at, width);
        Arrays.fill(into, at + width, at + WIDTH, 0f);
    }

    /** A row of an I32 tensor. */
    void readRow(Tensor source, long row, int[] into) {
        MemorySegment.copy(source.memory(), Memory.INT, offset(source, row), into, 0, width);
        Arrays.fill(into, width, WIDTH, 0);
    }

    /** A row of a U8 tensor. */
    void readRow(Tensor source, long row, byte[] into) {
        MemorySegment.copy(source.memory(), ValueLayout.JAVA_BYTE, offset(source, row), into, 0, width);
        Arrays.fill(into, width, WIDTH, (byte) 0);
    }

    void writeRow(float[] from, int at, Tensor target, long row) {
        MemorySegment.copy(from, at, target.memory(), Memory.FLOAT, offset(target, row), width);
    }

    void writeRow(int[] from, Tensor target, long row) {
        MemorySegment.copy(from, 0, target.memory(), Memory.INT, offset(target, row), width);
    }

    void writeRow(byte[] from, Tensor target, long row) {
        MemorySegment.copy(from, 0, target.memory(), ValueLayout.JAVA_BYTE, offset(target, row), width);
    }

    private long offset(Tensor tensor, long row) {
        return Memory.row(tensor, row) + from * tensor.dtype().bytes();
    }
}
