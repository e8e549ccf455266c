package dev.optgptq.kernels.cpu.cache;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;

import dev.optgptq.kernels.cpu.attention.CpuRotary;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.cpu.loops.VectorMath;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.jspecify.annotations.Nullable;

/** CacheOps on vectors and all threads. */
public final class CpuCacheOps implements CacheOps {

    private final Parallel parallel;
    private final CpuPagedAttention attention;

    public CpuCacheOps(Parallel parallel) {
        this.parallel = parallel;
        this.attention = new CpuPagedAttention(parallel);
    }

    @Override
    public void append(Tensor k, Tensor v, Tensor slots, CachePages pages) {
        PageWriter keys = new PageWriter(pages, pages.keys(), pages.keyGrids());
        PageWriter values = new PageWriter(pages, pages.values(), pages.valueGrids());
        Rows.forEach(parallel, k, row -> {
            int slot = slots.memory().get(Memory.INT, row * Integer.BYTES);
            for (int head = 0; slot >= 0 && head < pages.kvHeads(); head++) {
                keys.store(k, row, head, slot);
                values.store(v, row, head, slot);
            }
        });
    }

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        attention.run(q, pages, rows, slopes, sinks, shape, out);
    }

    @Override
    public void rotaryAt(Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions, RotaryLayout layout) {
        CpuRotary.rotate(parallel, x, headDim, cos, sin, positions, layout);
    }

    @Override
    public void argmax(Tensor logits, Tensor ids) {
        parallel.forEach(logits.rows(), row -> ids.memory().set(Memory.INT, row * Integer.BYTES,
                firstLargest(logits.memory(), Memory.row(logits, row), Math.toIntExact(logits.columns()))));
    }

    /** The largest value first, then where it first stands: two passes that need no order among lanes. */
    private static int firstLargest(MemorySegment memory, long at, int count) {
        FloatVector most = FloatVector.broadcast(VectorMath.SPECIES, Float.NEGATIVE_INFINITY);
        FloatVector rest = FloatVector.zero(VectorMath.SPECIES);
        for (int c = 0; c < count; c += LANES) {
            VectorMask<Float> lanes = VectorMath.SPECIES.indexInRange(c, count);
            FloatVector value = Memory.load(memory, at + (long) c * Float.BYTES, lanes);
            most = most.blend(value, value.compare(VectorOperators.GT, most).and(lanes));
            // 0 for a finite value, else NaN.
            rest = rest.add(value.sub(value));
        }
        if (rest.test(VectorOperators.IS_NAN).anyTrue()) {
            return -1;
        }
        float largest = most.reduceLanes(VectorOperators.MAX);
        for (int c = 0; c < count; c++) {
            if (memory.get(Memory.FLOAT, at + (long) c * Float.BYTES) == largest) {
                return c;
            }
        }
        return -1;
    }
}
