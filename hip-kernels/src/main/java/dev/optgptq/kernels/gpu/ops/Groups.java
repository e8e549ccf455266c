package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.kernels.Tensor;

/**
 * Groups of neighbouring columns of a row, which 32 threads take each (norm_part.h).
 *
 * @param count in a row
 * @param own 1 where each has its own weights, 0 where they share them
 */
record Groups(long rows, long count, int own) {

    private static final long PER_BLOCK = Extent.THREADS / 32;

    static Groups of(Tensor x, Tensor weight, int width) {
        return new Groups(x.rows(), x.columns() / width, weight.columns() == width ? 0 : 1);
    }

    /** Blocks of a launch over all of them. */
    long blocks() {
        return Math.ceilDiv(rows * count, PER_BLOCK);
    }
}
