package dev.optgptq.kernels.cpu.quant;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.HalfVectors;
import dev.optgptq.kernels.cpu.loops.Memory;
import java.lang.foreign.MemorySegment;

/** Rows that multiply packed weights, in float32. */
final class PackedRows {

    private PackedRows() {}

    /** target[at ..] = count elements of a row of x, F32, F16 or BF16. */
    static void read(Tensor x, long row, long from, int count, float[] target, int at) {
        long start = Memory.row(x, row) + from * x.dtype().bytes();
        switch (x.dtype()) {
            case F16 -> HalfVectors.widenFloat16(x.memory(), start, MemorySegment.ofArray(target), 4L * at, count);
            case BF16 -> HalfVectors.widenBf16(x.memory(), start, MemorySegment.ofArray(target), 4L * at, count);
            default -> MemorySegment.copy(x.memory(), Memory.FLOAT, start, target, at, count);
        }
    }
}
