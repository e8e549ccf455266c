package dev.optgptq.kernels.cpu.attention;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.Supplier;

/** The gradient through causal attention, parallel over sequences and heads. */
public final class CpuAttentionGradient {

    private final Parallel parallel;
    private final Supplier<TensorArena> scratch;
    /** Work memory not in use, at most one per thread; those of another size are let go. */
    private final ConcurrentLinkedDeque<AttentionGradientBlock> idle = new ConcurrentLinkedDeque<>();

    /** @param scratch arenas for working memory, counted as the device's */
    public CpuAttentionGradient(Parallel parallel, Supplier<TensorArena> scratch) {
        this.parallel = parallel;
        this.scratch = scratch;
    }

    public void run(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {
        AttentionShape shape = forward.shape();
        if (shape.heads() == shape.kvHeads()) {
            heads(forward, dOut, dq, dk, dv);
            return;
        }
        // Query heads that share a KV head run at the same time: each has its own dk and dv, summed afterwards.
        try (TensorArena arena = scratch.get()) {
            Tensor perHeadKeys = arena.matrix(DType.F32, dq.rows(), dq.columns());
            Tensor perHeadValues = arena.matrix(DType.F32, dq.rows(), dq.columns());
            heads(forward, dOut, dq, perHeadKeys, perHeadValues);
            sumGroups(shape, perHeadKeys, dk);
            sumGroups(shape, perHeadValues, dv);
        }
    }

    /** dk and dv have a column range for every query head. */
    private void heads(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv) {
        AttentionShape shape = forward.shape();
        int length = shape.sequenceLength();
        int group = shape.heads() / shape.kvHeads();
        Tensor slopes = forward.slopes();
        parallel.forEach(dq.rows() / length * shape.heads(), task -> {
            int head = (int) (task % shape.heads());
            long firstRow = task / shape.heads() * length;
            float slope = slopes == null ? 0 : slopes.memory().get(Memory.FLOAT, (long) head * Float.BYTES);
            AttentionGradientBlock work = take(shape);
            work.run(new AttentionGradientBlock.Head(head(forward.q(), firstRow, head, shape),
                    head(forward.k(), firstRow, head / group, shape), head(forward.v(), firstRow, head / group, shape),
                    head(forward.out(), firstRow, head, shape), head(dOut, firstRow, head, shape),
                    head(dq, firstRow, head, shape), head(dk, firstRow, head, shape), head(dv, firstRow, head, shape)),
                    slope, shape);
            idle.push(work);
        });
    }

    /** target[r, g] = sum over the heads h of group g of perHead[r, h]. */
    private void sumGroups(AttentionShape shape, Tensor perHead, Tensor target) {
        int group = shape.heads() / shape.kvHeads();
        int headDim = shape.headDim();
        Rows.forEach(parallel, target, row -> {
            for (int kvHead = 0; kvHead < shape.kvHeads(); kvHead++) {
                long to = Memory.row(target, row) + 4L * kvHead * headDim;
                long from = Memory.row(perHead, row) + 4L * kvHead * group * headDim;
                MemorySegment.copy(perHead.memory(), from, target.memory(), to, 4L * headDim);
                for (int i = 1; i < group; i++) {
                    CpuElementwise.addRow(target.memory(), to, perHead.memory(), from + 4L * i * headDim, headDim);
                }
            }
        });
    }

    private static Tensor head(Tensor tensor, long firstRow, int head, AttentionShape shape) {
        return tensor.rows(firstRow, shape.sequenceLength()).columns((long) head * shape.headDim(), shape.headDim());
    }

    private AttentionGradientBlock take(AttentionShape shape) {
        AttentionGradientBlock found = idle.poll();
        return found != null && found.fits(shape)
                ? found
                : new AttentionGradientBlock(shape.headDim(), shape.sequenceLength());
    }
}
