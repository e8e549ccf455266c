package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import java.lang.foreign.MemorySegment;

/** Rearrangements of square F32 matrices, rows in parallel. Rows pass through heap arrays, where indexing is cheap. */
final class Squares {

    /** Rows of a task. */
    private static final long ROWS = 16;

    private Squares() {}

    /** target[i, j] = source[n - 1 - i, n - 1 - j] for j <= i, and 0 above the diagonal. */
    static void reverseLower(Parallel parallel, Tensor source, Tensor target) {
        int n = Math.toIntExact(source.rows());
        parallel.forRanges(n, ROWS, (from, to) -> {
            float[] in = new float[n];
            float[] out = new float[n];
            for (long i = from; i < to; i++) {
                int length = (int) i + 1;
                // Row n - 1 - i from the diagonal on.
                read(source, n - 1 - i, n - 1 - i, in, length);
                for (int j = 0; j < length; j++) {
                    out[j] = in[length - 1 - j];
                }
                java.util.Arrays.fill(out, length, n, 0f);
                write(out, target, i, n);
            }
        });
    }

    /** a[i, j] and a[n - 1 - i, n - 1 - j] change places, for all i, j. */
    static void reverseInPlace(Parallel parallel, Tensor a) {
        int n = Math.toIntExact(a.rows());
        parallel.forRanges(Math.ceilDiv(n, 2), ROWS, (from, to) -> {
            float[] upper = new float[n];
            float[] lower = new float[n];
            for (long i = from; i < to; i++) {
                read(a, i, 0, upper, n);
                read(a, n - 1 - i, 0, lower, n);
                reverse(upper);
                reverse(lower);
                write(lower, a, i, n);
                write(upper, a, n - 1 - i, n);
            }
        });
    }

    private static void reverse(float[] row) {
        for (int i = 0, j = row.length - 1; i < j; i++, j--) {
            float kept = row[i];
            row[i] = row[j];
            row[j] = kept;
        }
    }

    /** target[i, j] = source[order[i], order[j]]. */
    static void gather(Parallel parallel, Tensor source, Tensor order, Tensor target) {
        int n = Math.toIntExact(source.rows());
        int[] indices = CpuCopies.checkedOrder(order, n);
        parallel.forRanges(n, ROWS, (from, to) -> {
            float[] in = new float[n];
            float[] out = new float[n];
            for (long i = from; i < to; i++) {
                read(source, indices[(int) i], 0, in, n);
                for (int j = 0; j < n; j++) {
                    out[j] = in[indices[j]];
                }
                write(out, target, i, n);
            }
        });
    }

    private static void read(Tensor tensor, long row, long column, float[] into, int count) {
        MemorySegment.copy(tensor.memory(), Memory.FLOAT, Memory.row(tensor, row) + 4 * column, into, 0, count);
    }

    private static void write(float[] from, Tensor tensor, long row, int count) {
        MemorySegment.copy(from, 0, tensor.memory(), Memory.FLOAT, Memory.row(tensor, row), count);
    }
}
