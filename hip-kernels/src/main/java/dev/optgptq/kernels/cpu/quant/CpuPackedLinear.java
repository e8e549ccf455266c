package dev.optgptq.kernels.cpu.quant;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * y = x W^T straight from packed weights. Neighbouring outputs are neighbours in memory and lie in the vector lanes; a task
 * takes a panel of outputs, wide enough that rows of packed words are read in long runs. One row is read and multiplied in
 * registers (PackedVector); for more, blocks of 32 inputs are dequantized once and multiplied with all rows (PackedMatrix).
 */
final class CpuPackedLinear {

    /** Inputs that are packed into whole words, whatever the bits. */
    static final int BLOCK = 32;
    /** Outputs of a task: a row of words is then 1 KiB. */
    private static final int WIDEST = 256;
    /** Outputs are whole multiples of it, since packed sizes are. */
    private static final int NARROWEST = 32;
    /** Rows of a task; their sums stay in the cache. */
    private static final int ROWS = 64;

    private CpuPackedLinear() {}

    /**
     * The work of a task.
     *
     * @param groupOf of each input
     * @param from first output
     * @param outputs a multiple of 32
     */
    record Panel(PackedWeights weights, int[] groupOf, long from, int outputs) {

        int inputs() {
            return groupOf.length;
        }

        int blocks() {
            return groupOf.length / BLOCK;
        }

        /** Where the words of a block begin, at the panel's first output. */
        long words(int block) {
            Tensor qweight = weights.qweight();
            return Memory.row(qweight, (long) block * weights.bits()) + from * Integer.BYTES;
        }

        /** Whether the inputs of a block share a group. */
        boolean isUniform(int block) {
            for (int i = block * BLOCK + 1; i < (block + 1) * BLOCK; i++) {
                if (groupOf[i] != groupOf[block * BLOCK]) {
                    return false;
                }
            }
            return true;
        }
    }

    static void run(Parallel parallel, PackedWeights weights, Tensor x, @Nullable Tensor bias, float beta, Tensor y) {
        int[] groupOf = CpuCopies.checkedOrder(weights.groupOf(), weights.scales().rows());
        int width = width(y.columns(), parallel.threads());
        long across = Math.ceilDiv(y.columns(), width);
        parallel.forEach(across * Math.ceilDiv(y.rows(), (long) ROWS), task -> {
            long from = task % across * width;
            long row = task / across * ROWS;
            Panel panel = new Panel(weights, groupOf, from, (int) Math.min(width, y.columns() - from));
            Tensor rows = x.rows(row, Math.min(ROWS, x.rows() - row));
            float[] sums = rows.rows() == 1
                    ? new PackedVector(panel, rows).sums()
                    : new PackedMatrix(panel, rows).sums();
            for (int r = 0; r < rows.rows(); r++) {
                write(sums, r * panel.outputs(), bias, beta, y.rows(row + r, 1).columns(from, panel.outputs()), from);
            }
        });
    }

    /** A few tasks for each thread, if there are enough outputs. Results do not depend on it. */
    private static int width(long outputs, int threads) {
        long even = Math.ceilDiv(outputs, 4L * threads);
        return Math.clamp(Math.ceilDiv(even, NARROWEST) * NARROWEST, NARROWEST, WIDEST);
    }

    private static void write(float[] sums, int at, @Nullable Tensor bias, float beta, Tensor target, long from) {
        int outputs = (int) target.columns();
        if (bias != null) {
            for (int c = 0; c < outputs; c++) {
                sums[at + c] += bias.memory().get(Memory.FLOAT, (from + c) * Float.BYTES);
            }
        }
        for (int c = 0; beta != 0 && c < outputs; c++) {
            sums[at + c] = Math.fma(beta, target.memory().get(Memory.FLOAT, (long) c * Float.BYTES), sums[at + c]);
        }
        MemorySegment.copy(sums, at, target.memory(), Memory.FLOAT, 0, outputs);
    }
}
