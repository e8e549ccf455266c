package dev.optgptq.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Copies host bytes to a device while it computes, on a stream of its own. Two threads share it: the one that drives the
 * device, and one that uploads. Memory is handed out and taken back in the order of what the device computes; between
 * {@link #begin} and {@link #await} it is lent to the uploads.
 */
public interface Uploads {

    /**
     * Called by the device's thread. What is uploaded from now on comes behind what the device was given so far, so that it
     * may go to memory that was handed out again.
     */
    void begin();

    /**
     * Called by the uploading thread. Copies host bytes (dense, little-endian, rows * columns elements) into a tensor; when it
     * returns they have been read, though the device may still copy.
     */
    void upload(MemorySegment source, Tensor target);

    /**
     * Called by the device's thread. What the device is given from now on comes behind all that was uploaded so far: it may
     * read that, and memory that was lent may be given back.
     */
    void await();

    /** Waits until nothing is copied any more, except on a device that is lost, which is not asked. */
    void drain();

    /** Whether the device is lost. A thread that is in a call then may never return from it. */
    boolean isLost();
}
