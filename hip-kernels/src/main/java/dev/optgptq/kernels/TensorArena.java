package dev.optgptq.kernels;

import dev.optgptq.formats.dtype.DType;
import java.lang.foreign.MemorySegment;

/** Owns device memory: everything allocated from it is freed when it is closed, and not before. */
public interface TensorArena extends AutoCloseable {

    /**
     * A dense matrix with undefined contents, rows * columns elements, aligned to 64 bytes. Throws UserError MEMORY
     * with what was requested and what was free.
     */
    Tensor matrix(DType dtype, long rows, long columns);

    /** A matrix of one row. */
    default Tensor vector(DType dtype, long columns) {
        return matrix(dtype, 1, columns);
    }

    /**
     * A dense matrix with the given host bytes. A device that can read host memory does not copy, so the tensor must not
     * be written and the bytes must stay valid; the address may be unaligned.
     */
    Tensor load(MemorySegment host, DType dtype, long rows, long columns);

    @Override
    void close();
}
