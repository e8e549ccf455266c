package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;

/**
 * The residual stream of the calibration sequences between blocks, F32 [rows, hidden] in host memory, or in a mapped
 * temporary file when it is larger than what memory allows.
 */
public final class ActivationStore implements AutoCloseable {

    /** @param memoryLimit bytes above which a mapped temporary file is used */
    public ActivationStore(long rows, int hidden, long memoryLimit) {
        throw new UnsupportedOperationException("not written yet");
    }

    public long rows() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Whether it lies in a temporary file. */
    public boolean spilled() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Copies rows [first, first + x.rows()) to the device. */
    public void read(Device device, long first, Tensor x) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Copies a device tensor to rows [first, first + x.rows()). */
    public void write(Device device, long first, Tensor x) {
        throw new UnsupportedOperationException("not written yet");
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException("not written yet");
    }
}
