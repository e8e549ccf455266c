package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;

/** A sum over tokens on the device: of a few thousand in float32, and of these sums in float64. */
final class MomentSum {

    /** Tokens of a partial sum: few enough for float32, and enough to make the second sum cheap. */
    private static final long FLUSH_TOKENS = 16_384;

    private final Device device;
    private final Tensor partial;
    private final Tensor total;
    private final boolean upper;
    private long pending;

    /**
     * Of zero.
     *
     * @param scratch owns the partial sum, [rows, columns]
     * @param owner of the total
     */
    MomentSum(Device device, TensorArena scratch, TensorArena owner, long rows, long columns) {
        this(device, scratch, owner, rows, columns, false);
    }

    private MomentSum(Device device, TensorArena scratch, TensorArena owner, long rows, long columns, boolean upper) {
        this.device = device;
        this.partial = scratch.matrix(DType.F32, rows, columns);
        this.total = owner.matrix(DType.F64, rows, columns);
        this.upper = upper;
        device.matrix().fill(partial, 0);
        device.matrix().fill(total, 0);
    }

    /** Of symmetric matrices [n, n], of which only the upper triangle is added. */
    static MomentSum ofUpper(Device device, TensorArena scratch, TensorArena owner, long n) {
        return new MomentSum(device, scratch, owner, n, n, true);
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
        if (upper) {
            device.matrix().symmetrize(partial);
        }
        device.float64().combine(1, partial, 1, total);
        device.matrix().fill(partial, 0);
        pending = 0;
    }

    /** The sum of all batches, divided: F64, in the sum's own memory; nothing can be added any more. */
    Tensor dividedBy(double count) {
        if (pending > 0) {
            flush();
        }
        device.float64().combine(1 / count, total, 0, total);
        return total;
    }

    /** The same on the host. */
    Matrix matrixDividedBy(double count) {
        return new HostCopies(device).downloadDoubles(dividedBy(count));
    }
}
