package dev.optgptq.kernels.host;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Locale;

/** Tensors in off-heap host memory, readable by every thread. Loading host bytes that are off-heap does not copy. */
final class HostArena implements TensorArena {

    /** A cache line, and the widest vector register. */
    private static final long ALIGNMENT = 64;

    private final Arena arena = Arena.ofShared();
    private final HostMemory memory;
    private long bytes;

    HostArena(HostMemory memory) {
        this.memory = memory;
    }

    @Override
    public Tensor matrix(DType dtype, long rows, long columns) {
        if (rows < 0 || columns < 0) {
            throw new IllegalArgumentException("negative size: [" + rows + ", " + columns + "]");
        }
        long size = Math.multiplyExact(Math.multiplyExact(rows, columns), dtype.bytes());
        return Tensor.dense(dtype, rows, columns, allocate(size, dtype + " [" + rows + ", " + columns + "]"));
    }

    @Override
    public Tensor load(MemorySegment host, DType dtype, long rows, long columns) {
        long size = Math.multiplyExact(Math.multiplyExact(rows, columns), dtype.bytes());
        if (host.byteSize() < size) {
            throw new IllegalArgumentException(
                    dtype + " [" + rows + ", " + columns + "] needs " + size + " bytes, found " + host.byteSize());
        }
        MemorySegment exact = host.asSlice(0, size);
        if (host.isNative()) {
            return Tensor.dense(dtype, rows, columns, exact);
        }
        Tensor copy = matrix(dtype, rows, columns);
        copy.memory().copyFrom(exact);
        return copy;
    }

    private MemorySegment allocate(long size, String what) {
        MemorySegment segment;
        try {
            segment = arena.allocate(size, ALIGNMENT);
        } catch (OutOfMemoryError e) {
            throw new UserError(UserError.Code.MEMORY, String.format(Locale.ROOT,
                    "not enough memory for a tensor %s: asked for %s, this device holds %s and the JVM may hand out %s"
                            + " in all; use fewer or shorter sequences, or raise -XX:MaxDirectMemorySize if the"
                            + " machine has more memory",
                    what, mebibytes(size), mebibytes(memory.inUse()), mebibytes(HostMemory.limit())), e);
        }
        bytes += size;
        memory.reserved(size);
        return segment;
    }

    private static String mebibytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f MiB", bytes / 1048576.0);
    }

    @Override
    public void close() {
        arena.close();
        memory.released(bytes);
        bytes = 0;
    }
}
