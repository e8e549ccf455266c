package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A sum over tokens: of a few thousand in float32 on the device, and of these sums in float64 on the host. */
final class MomentSum {

    /** Tokens of a partial sum: few enough for float32, and enough to make copies from the device rare. */
    private static final long FLUSH_TOKENS = 16_384;

    private final Device device;
    private final Tensor partial;
    private final double[] total;
    private long pending;

    /** @param arena owns the partial sum, [rows, columns] */
    MomentSum(Device device, TensorArena arena, long rows, long columns) {
        this.device = device;
        this.partial = arena.matrix(DType.F32, rows, columns);
        this.total = new double[Math.toIntExact(rows * columns)];
        device.matrix().fill(partial, 0);
    }

    /** The partial sum to add this batch to, F32. */
    Tensor partial() {
        return partial;
    }

    /** A batch was added. */
    void added(long tokens) {
        pending += tokens;
        if (pending >= FLUSH_TOKENS) {
            flush();
        }
    }

    private void flush() {
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, Math.max(1, partial.elements()));
            device.download(partial, values.asSlice(0, Float.BYTES * partial.elements()));
            for (int i = 0; i < total.length; i++) {
                total[i] += values.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            }
        }
        device.matrix().fill(partial, 0);
        pending = 0;
    }

    /** The sum of all batches, divided. */
    Matrix dividedBy(double count) {
        if (pending > 0) {
            flush();
        }
        return Matrix.of(Math.toIntExact(partial.rows()), Math.toIntExact(partial.columns()), total)
                .times(1 / count);
    }
}
