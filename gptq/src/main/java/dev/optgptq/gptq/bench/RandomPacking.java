package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.SequencedMap;

/**
 * Packed linears with random codes: any bits are valid codes and zero points, so windows into the pool of random
 * numbers will do; all scales are equal.
 */
final class RandomPacking {

    private static final float SCALE = 0.003f;
    private static final long MOST_SCALES = 1 << 22;
    private static final int MOST_INPUTS = 1 << 17;

    private final int bits;
    private final MemorySegment pool;
    private final MemorySegment scales;
    private final MemorySegment groups;

    /** @param pool of random bits, as large as the largest linear in fp16/bf16 */
    RandomPacking(int bits, MemorySegment pool, Arena arena) {
        this.bits = bits;
        this.pool = pool;
        this.scales = arena.allocate(MOST_SCALES * Short.BYTES, 64);
        for (long i = 0; i < MOST_SCALES; i++) {
            scales.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(SCALE));
        }
        this.groups = arena.allocate((long) MOST_INPUTS * Integer.BYTES, 64);
        for (int i = 0; i < MOST_INPUTS; i++) {
            groups.setAtIndex(ValueLayout.JAVA_INT, i, i / ModelShape.GROUP_SIZE);
        }
    }

    void add(LinearSpec linear, SequencedMap<String, TensorView> tensors) {
        long inputs = linear.inputs();
        long outputs = linear.outputs();
        long count = Math.ceilDiv(inputs, (long) ModelShape.GROUP_SIZE);
        String module = linear.module();
        put(tensors, module + ".qweight", DType.I32, pool, inputs * bits / 32, outputs);
        put(tensors, module + ".qzeros", DType.I32, pool, count, outputs * bits / 32);
        put(tensors, module + ".scales", DType.F16, scales, count, outputs);
        put(tensors, module + ".g_idx", DType.I32, groups, inputs);
    }

    private static void put(SequencedMap<String, TensorView> tensors, String name, DType dtype, MemorySegment from,
            long... shape) {
        Shape of = Shape.of(shape);
        MemorySegment data = from.asSlice(0, of.elements() * dtype.bytes());
        tensors.put(name, new TensorView(name, dtype, of, data.asReadOnly(), Path.of("memory")));
    }
}
