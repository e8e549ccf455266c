package dev.optgptq.kernels.gpu.driver;

import java.lang.foreign.MemorySegment;

/**
 * A vendor's runtime, as the GPU code needs it: the HIP runtime or the CUDA driver API, which agree nearly call for
 * call. Device addresses, streams, events, modules and functions are plain 64-bit handles. Every status is checked: a call
 * that fails throws UserError naming the call, the code and its meaning: MEMORY when the device is full, DEVICE_LOST when a
 * kernel or the device itself failed, after which this process cannot use the device any more, otherwise DEVICE.
 *
 * <p>
 * A calling thread works on one device at a time: {@link #makeCurrent} before the calls that touch that device. Calls from
 * several threads are safe.
 */
public interface GpuDriver {

    /** "hip" or "cuda": the first part of the device's name. */
    String api();

    /** The library and its version, for people. */
    String description();

    /** Devices that can be opened; at least 1, since a driver without a device is not loaded. */
    int deviceCount();

    /** Describes a device. Needs no current device. */
    DeviceInfo info(int ordinal);

    /** Begins the use of a device, which is counted: each needs one {@link #release}. */
    void acquire(int ordinal);

    void release(int ordinal);

    /** Makes the calling thread work on this device, which was acquired, until it says otherwise. Cheap. */
    void makeCurrent(int ordinal);

    /** Free and total bytes of the current device. */
    MemoryInfo memory();

    /** Device memory, aligned to 256 bytes, contents undefined. */
    long allocate(long bytes);

    void free(long address);

    /** Page-locked host memory, which copies use without the CPU. */
    MemorySegment allocatePinned(long bytes);

    void freePinned(MemorySegment memory);

    /** A stream that does not wait for the default stream. */
    long createStream();

    void destroyStream(long stream);

    /** Waits for everything issued to the stream; failures of earlier kernels surface here. */
    void synchronize(long stream);

    /**
     * A new event.
     *
     * @param timed whether {@link #elapsedMillis} will ask it
     */
    long createEvent(boolean timed);

    void destroyEvent(long event);

    /** The event happens when what was issued to the stream so far is done. */
    void record(long event, long stream);

    /** What is issued to the stream from now on starts after the event. */
    void await(long stream, long event);

    /** Waits for the event on the calling thread. */
    void synchronizeEvent(long event);

    float elapsedMillis(long from, long to);

    /** Copies between host and device, on the stream. The host side must stay untouched until the copy is done. */
    void copyToDevice(long target, MemorySegment source, long stream);

    void copyToHost(MemorySegment target, long source, long stream);

    void copyOnDevice(long target, long source, long bytes, long stream);

    /**
     * Lets copies from the other device's memory go directly, where the machine can; otherwise they are staged. The
     * first device is current.
     */
    void connect(int ordinal, int other);

    /** Copies between two devices that were acquired from this driver, on a stream of the target's. */
    void copyBetween(PeerCopy copy, long stream);

    /**
     * A copy from one device to another.
     *
     * @param target its address
     * @param to ordinal of the device that holds it
     * @param source its address
     * @param from ordinal of the device that holds it
     */
    record PeerCopy(long target, int to, long source, int from, long bytes) {}

    /** Copies rows between dense host memory and device rows that are pitch bytes apart. */
    void copyRows(RowCopy copy, long stream);

    /**
     * A copy of some rows.
     *
     * @param toDevice host to device, or device to host
     * @param host rows * rowBytes, dense
     * @param address of the first row on the device
     * @param pitch bytes from one row on the device to the next
     */
    record RowCopy(boolean toDevice, MemorySegment host, long address, long pitch, long rowBytes, long rows) {}

    /** Sets every byte, on the stream. */
    void fill(long address, byte value, long bytes, long stream);

    /** Loads a code object (HIP) or cubin (CUDA) onto the current device. */
    long loadModule(MemorySegment image);

    void unloadModule(long module);

    long function(long module, String name);

    /**
     * Starts a kernel.
     *
     * @param parameters array of pointers to the arguments; read during the call only
     */
    void launch(long function, Grid grid, int sharedBytes, long stream, MemorySegment parameters);

    /** Recording of a stream's work. UserError DEVICE where the library has no calls for it, or none that work. */
    Recordings recordings();

    /** The shape of a launch: blocks, and threads of a block. */
    record Grid(int x, int y, int z, int threads) {}

    /**
     * The memory of a device.
     *
     * @param free bytes that can still be allocated, by any process
     */
    record MemoryInfo(long free, long total) {}

    /**
     * What a device is.
     *
     * @param name the product's
     * @param architecture what its code is compiled for: gfx90a, sm_90
     * @param waveWidth threads that run in step: 64 or 32
     * @param multiprocessors compute units
     * @param sharedBytes shared memory that one block can have
     * @param maxThreads of a block
     */
    record DeviceInfo(String name, String architecture, int waveWidth, int multiprocessors, int sharedBytes,
            int maxThreads, long memory) {

        /** The same device, with kernels compiled for another architecture. */
        public DeviceInfo compiledFor(String other) {
            return new DeviceInfo(name, other, waveWidth, multiprocessors, sharedBytes, maxThreads, memory);
        }
    }
}
