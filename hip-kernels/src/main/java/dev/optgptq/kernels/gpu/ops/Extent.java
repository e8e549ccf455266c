package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.GpuContext;

/**
 * What an elementwise kernel covers, and how: a block takes a chunk of 1024 neighbouring elements of one row (FOR_CHUNK
 * of elements.h).
 */
record Extent(long rows, long columns) {

    static final int THREADS = 256;
    private static final long CHUNK = 1024;
    private static final long ALIGNMENT = 16;

    /** The elements of tensors of one shape; where all are dense they count as one row, so that short rows cost nothing. */
    static Extent of(Tensor... tensors) {
        boolean dense = true;
        for (Tensor tensor : tensors) {
            dense &= tensor.isDense();
        }
        return dense ? new Extent(1, tensors[0].elements()) : byRows(tensors[0]);
    }

    /** The elements of a tensor whose kernel needs to know their rows. */
    static Extent byRows(Tensor tensor) {
        return new Extent(tensor.rows(), tensor.columns());
    }

    /** Blocks of the launch. */
    long blocks() {
        return rows * Math.ceilDiv(columns, CHUNK);
    }

    /** Whether rows of a tensor can be read by 16 bytes: they begin at multiples of that. */
    static boolean isAligned(GpuContext context, Tensor tensor) {
        return context.address(tensor) % ALIGNMENT == 0 && tensor.stride() * tensor.dtype().bytes() % ALIGNMENT == 0;
    }

    /** A float dtype as elements.h numbers it. */
    static int code(DType dtype) {
        return switch (dtype) {
            case F32 -> 0;
            case F64 -> 1;
            case F16 -> 2;
            case BF16 -> 3;
            default -> throw new IllegalArgumentException("not a float dtype: " + dtype);
        };
    }
}
