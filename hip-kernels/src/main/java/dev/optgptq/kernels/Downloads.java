package dev.optgptq.kernels;

import java.lang.foreign.MemorySegment;

/** Copies tensors of a device to the host while it goes on computing. For the thread that drives the device. */
@FunctionalInterface
public interface Downloads {

    /**
     * Begins to copy a tensor to host bytes (dense, little-endian), as the work that was issued to the device so far leaves it. Until
     * the copy has ended the tensor must neither be freed nor written to, and its memory neither read nor freed.
     */
    Download begin(Tensor source, MemorySegment target);

    /** A copy on its way. Any thread may ask. */
    interface Download {

        /** One that is complete. */
        Download ENDED = new Download() {
            @Override
            public boolean hasEnded() {
                return true;
            }

            @Override
            public void await() {
                // It has ended.
            }
        };

        /** Whether the bytes are there, or will never be. */
        boolean hasEnded();

        /**
         * Waits for the bytes, despite interrupts. Throws what the copy failed with; UserError DEVICE_LOST if the device is lost, whose
         * calls may not return.
         */
        void await();
    }

    /** Copies that end before they return, where there is nothing to be gained, or no room to keep tensors longer. */
    static Downloads atOnce(Device device) {
        return (source, target) -> {
            device.download(source, target);
            return Download.ENDED;
        };
    }
}
