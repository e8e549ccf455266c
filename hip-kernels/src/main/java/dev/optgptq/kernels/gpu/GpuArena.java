package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Tensors in the memory of one GPU. Loading host bytes copies them there. */
final class GpuArena implements TensorArena {

    private final GpuContext context;
    private final List<Long> blocks = new ArrayList<>();

    GpuArena(GpuContext context) {
        this.context = context;
    }

    @Override
    public Tensor matrix(DType dtype, long rows, long columns) {
        if (rows < 0 || columns < 0) {
            throw new IllegalArgumentException("negative size: [" + rows + ", " + columns + "]");
        }
        long size = Math.multiplyExact(Math.multiplyExact(rows, columns), dtype.bytes());
        long address = context.allocate(size, dtype + " [" + rows + ", " + columns + "]");
        blocks.add(address);
        return Tensor.dense(dtype, rows, columns, GpuMemory.segment(address, size));
    }

    @Override
    public Tensor load(MemorySegment host, DType dtype, long rows, long columns) {
        Tensor tensor = matrix(dtype, rows, columns);
        long size = tensor.memory().byteSize();
        if (host.byteSize() < size) {
            throw new IllegalArgumentException(
                    dtype + " [" + rows + ", " + columns + "] needs " + size + " bytes, found " + host.byteSize());
        }
        context.upload(host.asSlice(0, size), tensor);
        return tensor;
    }

    @Override
    public void close() {
        blocks.forEach(context.memory()::release);
        blocks.clear();
    }
}
