package dev.optgptq.kernels.cpu.attention;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedDeque;
import org.jspecify.annotations.Nullable;

/** Causal attention, parallel over sequences, heads and blocks of queries. */
public final class CpuAttention {

    private final Parallel parallel;
    /** Work memory not in use, at most one per thread; those of another head size are let go. */
    private final ConcurrentLinkedDeque<AttentionBlock> idle = new ConcurrentLinkedDeque<>();

    public CpuAttention(Parallel parallel) {
        this.parallel = parallel;
    }

    public void run(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        int length = shape.sequenceLength();
        int queries = AttentionBlock.TILES * AttentionKernels.QUERIES;
        int blocksPerHead = Math.ceilDiv(length, queries);
        long tasks = q.rows() / length * shape.heads() * blocksPerHead;
        int group = shape.heads() / shape.kvHeads();
        parallel.forEach(tasks, task -> {
            // The last queries of a sequence see most keys: longest tasks first.
            int block = blocksPerHead - 1 - (int) (task % blocksPerHead);
            int head = (int) (task / blocksPerHead % shape.heads());
            long firstRow = task / blocksPerHead / shape.heads() * length;
            float slope = slopes == null ? 0 : slope(slopes, head);
            AttentionBlock work = take(shape.headDim());
            work.run(head(q, firstRow, head, shape), head(k, firstRow, head / group, shape),
                    head(v, firstRow, head / group, shape), block * queries, slope, shape,
                    head(out, firstRow, head, shape));
            idle.push(work);
        });
    }

    private static float slope(Tensor slopes, int head) {
        MemorySegment memory = slopes.memory();
        return memory.get(Memory.FLOAT, (long) head * Float.BYTES);
    }

    private static Tensor head(Tensor tensor, long firstRow, int head, AttentionShape shape) {
        return tensor.rows(firstRow, shape.sequenceLength()).columns((long) head * shape.headDim(), shape.headDim());
    }

    private AttentionBlock take(int headDim) {
        AttentionBlock found = idle.poll();
        return found != null && found.headDim() == headDim ? found : new AttentionBlock(headDim);
    }
}
