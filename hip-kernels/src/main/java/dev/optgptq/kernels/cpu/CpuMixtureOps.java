package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.CpuCopies;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.Routing;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** MixtureOps on vectors and all threads. Every result is the same, to the bit, for any number of threads. */
final class CpuMixtureOps implements MixtureOps {

    private static final int TASK_TOKENS = 64;

    private final Parallel parallel;

    CpuMixtureOps(Parallel parallel) {
        this.parallel = parallel;
    }

    @Override
    public void route(Tensor logits, @Nullable Tensor bias, Routing routing, Tensor experts, Tensor weights) {
        parallel.forRanges(logits.rows(), TASK_TOKENS, (from, to) -> {
            CpuRouting work = new CpuRouting(routing);
            for (long row = from; row < to; row++) {
                work.route(logits, bias, row, experts, weights);
            }
        });
    }

    @Override
    public void routeGradient(Tensor logits, Routing routing, Tensor experts, Tensor dWeights, Tensor dLogits) {
        parallel.forRanges(logits.rows(), TASK_TOKENS, (from, to) -> {
            CpuRouting work = new CpuRouting(routing);
            for (long row = from; row < to; row++) {
                work.gradient(logits, row, experts, dWeights, dLogits);
            }
        });
    }

    /** A counting sort; its cost is small beside the experts' work. */
    @Override
    public void sortByExpert(Tensor experts, Tensor tokens, Tensor slots, Tensor offsets) {
        int active = Math.toIntExact(experts.columns());
        int count = Math.toIntExact(offsets.columns() - 1);
        int[] next = new int[count + 1];
        int[] chosen = new int[Math.toIntExact(experts.elements())];
        for (int row = 0; row < experts.rows(); row++) {
            int[] ofToken = CpuCopies.checkedOrder(experts.rows(row, 1), count);
            System.arraycopy(ofToken, 0, chosen, row * active, active);
            for (int e : ofToken) {
                next[e + 1]++;
            }
        }
        for (int e = 0; e < count; e++) {
            next[e + 1] += next[e];
        }
        MemorySegment.copy(next, 0, offsets.memory(), Memory.INT, 0, count + 1);
        for (int slot = 0; slot < chosen.length; slot++) {
            int place = next[chosen[slot]]++;
            tokens.memory().set(Memory.INT, 4L * place, slot / active);
            slots.memory().set(Memory.INT, 4L * place, slot);
        }
    }

    @Override
    public void scatterAddRows(Tensor source, Tensor order, @Nullable Tensor factors, Tensor target) {
        int[] rows = CpuCopies.checkedOrder(order, target.rows());
        int columns = Math.toIntExact(source.columns());
        Rows.forEach(parallel, source, row -> CpuElementwise.addScaledRow(target.memory(),
                Memory.row(target, rows[(int) row]), factor(factors, row), source.memory(), Memory.row(source, row),
                columns));
    }

    @Override
    public void scatterAddRowsGradient(Tensor source, Tensor order, @Nullable Tensor factors, Tensor dTarget,
            Tensor dSource, @Nullable Tensor dFactors) {
        int[] rows = CpuCopies.checkedOrder(order, dTarget.rows());
        int columns = Math.toIntExact(source.columns());
        if (dFactors != null) {
            dFactors.memory().fill((byte) 0);
        }
        Rows.forEach(parallel, source, row -> {
            long from = Memory.row(dTarget, rows[(int) row]);
            long to = Memory.row(dSource, row);
            if (dFactors != null) {
                dFactors.memory().set(Memory.FLOAT, 4 * row, CpuGates.dotRow(source.memory(), Memory.row(source, row),
                        dTarget.memory(), from, columns));
            }
            MemorySegment.copy(dTarget.memory(), from, dSource.memory(), to, 4L * columns);
            CpuLimits.scaleRow(dSource.memory(), to, factor(factors, row), columns);
        });
    }

    private static float factor(@Nullable Tensor factors, long row) {
        return factors == null ? 1 : factors.memory().get(Memory.FLOAT, 4 * row);
    }
}
