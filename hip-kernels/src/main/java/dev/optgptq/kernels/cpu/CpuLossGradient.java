package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.Arguments;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorMask;

/** The gradients at the two ends of a model: cross-entropy of softmax, rows in parallel, and the embedding. */
final class CpuLossGradient {

    /** Columns of a task. */
    private static final long COLUMNS = 64;

    private CpuLossGradient() {}

    static void crossEntropy(Parallel parallel, Tensor logits, Tensor targets, Tensor weights) {
        int vocabulary = Math.toIntExact(logits.columns());
        Rows.forEach(parallel, logits, row -> {
            int id = targets.memory().get(Memory.INT, 4 * row);
            long target = Arguments.token("crossEntropyGradient", id, row, vocabulary);
            MemorySegment memory = logits.memory();
            long at = Memory.row(logits, row);
            float weight = weights.memory().get(Memory.FLOAT, 4 * row);
            float max = CpuCrossEntropy.max(memory, at, vocabulary);
            double sum = CpuCrossEntropy.sumOfExp(memory, at, vocabulary, max);
            softmax(memory, at, vocabulary, max, (float) (weight / sum));
            memory.set(Memory.FLOAT, at + 4 * target, memory.get(Memory.FLOAT, at + 4 * target) - weight);
        });
    }

    /** x = e^(x - max) factor. */
    private static void softmax(MemorySegment x, long at, int columns, float max, float factor) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(VectorMath.exp(Memory.load(x, at + 4L * c).sub(max)).mul(factor), x, at + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(VectorMath.exp(Memory.load(x, at + 4L * c, lanes).sub(max)).mul(factor), x, at + 4L * c,
                    lanes);
        }
    }

    /** Ranges of columns in parallel: the rows of an id are added in order, whatever the threads. */
    static void embed(Parallel parallel, Tensor ids, Tensor dOut, Tensor dTable) {
        parallel.forRanges(dTable.columns(), COLUMNS, (from, to) -> {
            for (long row = 0; row < dOut.rows(); row++) {
                int id = Arguments.token("embedGradient", ids.memory().get(Memory.INT, 4 * row), row,
                        dTable.rows());
                CpuElementwise.addRow(dTable.memory(), Memory.row(dTable, id) + 4 * from, dOut.memory(),
                        Memory.row(dOut, row) + 4 * from, (int) (to - from));
            }
        });
    }
}
