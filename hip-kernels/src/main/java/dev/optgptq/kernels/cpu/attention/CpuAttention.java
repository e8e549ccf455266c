package dev.optgptq.kernels.cpu.attention;

import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import java.util.concurrent.ConcurrentLinkedDeque;
import org.jspecify.annotations.Nullable;

/** Causal attention, parallel over sequences, heads and blocks of queries. */
public final class CpuAttention {

    private final Parallel parallel;
    /** Work memory not in use, at most one per thread; those of another head size are dropped. */
    private final ConcurrentLinkedDeque<AttentionBlock> idle = new ConcurrentLinkedDeque<>();

    public CpuAttention(Parallel parallel) {
        this.parallel = parallel;
    }

    public void run(Attended attended) {
        AttentionShape shape = attended.shape();
        int length = shape.sequenceLength();
        int queries = AttentionBlock.TILES * AttentionKernels.QUERIES;
        int blocksPerHead = Math.ceilDiv(length, queries);
        long tasks = attended.q().rows() / length * shape.heads() * blocksPerHead;
        parallel.forEach(tasks, task -> {
            // The last queries of a sequence see most keys: longest tasks first.
            int block = blocksPerHead - 1 - (int) (task % blocksPerHead);
            int head = (int) (task / blocksPerHead % shape.heads());
            int kvHead = head / shape.group();
            long firstRow = task / blocksPerHead / shape.heads() * length;
            AttentionBlock work = take(shape);
            work.run(head(attended.q(), firstRow, length, head, shape.headDim()),
                    head(attended.k(), firstRow, length, kvHead, shape.headDim()),
                    head(attended.v(), firstRow, length, kvHead, shape.valueDim()), block * queries,
                    ofHead(attended.slopes(), head, 0), ofHead(attended.sinks(), head, Float.NEGATIVE_INFINITY), shape,
                    head(attended.out(), firstRow, length, head, shape.valueDim()));
            idle.push(work);
        });
    }

    /** A number per head, or its default if there are none. */
    static float ofHead(@Nullable Tensor numbers, int head, float absent) {
        return numbers == null ? absent : numbers.memory().get(Memory.FLOAT, (long) head * Float.BYTES);
    }

    /** The columns of one head of one sequence. */
    static Tensor head(Tensor tensor, long firstRow, int length, int head, int width) {
        return tensor.rows(firstRow, length).columns((long) head * width, width);
    }

    private AttentionBlock take(AttentionShape shape) {
        AttentionBlock found = idle.poll();
        return found != null && found.fits(shape) ? found : new AttentionBlock(shape.headDim(), shape.valueDim());
    }
}
