package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * The residual stream of the calibration sequences between blocks, F32 [rows, hidden] in host memory, or in a mapped
 * temporary file when it is larger than what memory allows.
 */
public final class ActivationStore implements AutoCloseable {

    private final long rows;
    private final int hidden;
    private final HostBuffer buffer;

    /** @param memoryLimit bytes above which a mapped temporary file is used */
    public ActivationStore(long rows, int hidden, long memoryLimit) {
        this.rows = rows;
        this.hidden = hidden;
        this.buffer = new HostBuffer(Math.multiplyExact(rows, hidden * (long) Float.BYTES), memoryLimit);
    }

    public long rows() {
        return rows;
    }

    public long bytes() {
        return buffer.memory().byteSize();
    }

    /** Whether it lies in a temporary file. */
    public boolean spilled() {
        return buffer.spilled();
    }

    /** Copies rows [first, first + x.rows()) to the device: x F32 [n, hidden]. */
    public void read(Device device, long first, Tensor x) {
        device.upload(slice(first, x), x);
    }

    /** Copies a device tensor, F32 [n, hidden], to rows [first, first + x.rows()). */
    public void write(Device device, long first, Tensor x) {
        device.download(x, slice(first, x));
    }

    private MemorySegment slice(long first, Tensor x) {
        if (x.columns() != hidden || first < 0 || first > rows - x.rows()) {
            throw new IllegalArgumentException(
                    x + " at row " + first + " does not fit into [" + rows + ", " + hidden + "]");
        }
        long rowBytes = hidden * (long) Float.BYTES;
        return buffer.memory().asSlice(first * rowBytes, x.rows() * rowBytes);
    }

    @Override
    public void close() {
        buffer.close();
    }
}
