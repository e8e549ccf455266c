package dev.optgptq.kernels.cpu.attention;

import static dev.optgptq.kernels.cpu.attention.CpuAttention.head;

import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** The gradient through causal attention, parallel over sequences and heads. */
public final class CpuAttentionGradient {

    private final Parallel parallel;
    private final Supplier<TensorArena> scratch;
    /** Work memory not in use, at most one per thread; those of another size are dropped. */
    private final ConcurrentLinkedDeque<AttentionGradientBlock> idle = new ConcurrentLinkedDeque<>();

    /** @param scratch arenas for working memory, counted as the device's */
    public CpuAttentionGradient(Parallel parallel, Supplier<TensorArena> scratch) {
        this.parallel = parallel;
        this.scratch = scratch;
    }

    public void run(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv, @Nullable Tensor dSinks) {
        AttentionShape shape = forward.shape();
        if (shape.heads() == shape.kvHeads()) {
            heads(forward, dOut, dq, dk, dv, dSinks);
            return;
        }
        // Query heads that share a KV head run at the same time: each has its own dk and dv, summed afterwards.
        try (TensorArena arena = scratch.get()) {
            Tensor perHeadKeys = arena.matrix(DType.F32, dq.rows(), dq.columns());
            Tensor perHeadValues = arena.matrix(DType.F32, dOut.rows(), dOut.columns());
            heads(forward, dOut, dq, perHeadKeys, perHeadValues, dSinks);
            sumGroups(shape, shape.headDim(), perHeadKeys, dk);
            sumGroups(shape, shape.valueDim(), perHeadValues, dv);
        }
    }

    /** dk and dv have a column range for every query head. */
    private void heads(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv, @Nullable Tensor dSinks) {
        AttentionShape shape = forward.shape();
        int length = shape.sequenceLength();
        int keyDim = shape.headDim();
        int valueDim = shape.valueDim();
        double[] sinks = new double[Math.toIntExact(dq.rows() / length * shape.heads())];
        parallel.forEach(sinks.length, task -> {
            int head = (int) (task % shape.heads());
            int kvHead = head / shape.group();
            long first = task / shape.heads() * length;
            AttentionGradientBlock work = take(shape);
            sinks[(int) task] = work.run(
                    new AttentionGradientBlock.Head(head(forward.q(), first, length, head, keyDim),
                            head(forward.k(), first, length, kvHead, keyDim),
                            head(forward.v(), first, length, kvHead, valueDim),
                            head(forward.out(), first, length, head, valueDim),
                            head(dOut, first, length, head, valueDim), head(dq, first, length, head, keyDim),
                            head(dk, first, length, head, keyDim), head(dv, first, length, head, valueDim)),
                    CpuAttention.ofHead(forward.slopes(), head, 0),
                    CpuAttention.ofHead(forward.sinks(), head, Float.NEGATIVE_INFINITY), shape);
            idle.push(work);
        });
        if (dSinks != null) {
            addSinks(sinks, shape.heads(), dSinks);
        }
    }

    /** Over the sequences in order. */
    private static void addSinks(double[] sinks, int heads, Tensor dSinks) {
        for (int head = 0; head < heads; head++) {
            double sum = dSinks.memory().get(Memory.FLOAT, 4L * head);
            for (int task = head; task < sinks.length; task += heads) {
                sum += sinks[task];
            }
            dSinks.memory().set(Memory.FLOAT, 4L * head, (float) sum);
        }
    }

    /** target[r, g] = sum over the heads h of group g of perHead[r, h]. */
    private void sumGroups(AttentionShape shape, int headDim, Tensor perHead, Tensor target) {
        int group = shape.group();
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

    private AttentionGradientBlock take(AttentionShape shape) {
        AttentionGradientBlock found = idle.poll();
        return found != null && found.fits(shape) ? found : new AttentionGradientBlock(shape);
    }
}
