package dev.optgptq.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Copies host bytes to a device while it computes, on its own stream. Two threads share it: the one that drives the
 * device, and one that uploads. Memory is allocated and freed in the order of the device's work; between {@link #begin}
 * and {@link #await} it is lent to the uploads.
 */
public interface Uploads {

    /**
     * Called by the device's thread. Uploads from now on start after the work issued to the device so far, so that they
     * may write to reused memory.
     */
    void begin();

    /**
     * Called by the uploading thread. Copies host bytes (dense, little-endian, rows * columns elements) into a tensor; when it
     * returns they have been read, though the device may still copy.
     */
    void upload(MemorySegment source, Tensor target);

    /**
     * Called by the device's thread. Work issued to the device from now on starts after all uploads so far: it may read
     * them, and lent memory may be freed.
     */
    void await();

    /** Waits until all copies are done, except on a lost device, which is not called. */
    void drain();

    /** Whether the device is lost. A thread that is in a call then may never return from it. */
    boolean isLost();
}
