package dev.optgptq.kernels.gpu.driver;

/** Where HIP and CUDA differ. Statuses are returned, not checked. */
interface Api {

    String name();

    /** The symbol of a call in this library. */
    String symbol(Call call);

    /** The version in the form people know, from the number that the library gives. */
    String version(int number);

    /** The code's name and meaning. */
    String meaning(int status);

    int acquire(int ordinal);

    int release(int ordinal);

    int makeCurrent(int ordinal);

    /** The numbers of the attributes that {@link GpuDriver.DeviceInfo} needs. */
    Attributes attributes();

    /** Attribute numbers. */
    record Attributes(int waveWidth, int multiprocessors, int sharedBytes, int maxThreads) {}

    /** What to compile for; empty when the library does not say. */
    String architecture(int ordinal);

    /** Opens the direct way from another device to the current one, if there is one; it may be open. */
    void connect(int ordinal, int other);

    int copyBetween(GpuDriver.PeerCopy copy, long stream);

    int copyRows(GpuDriver.RowCopy copy, long stream);

    /** Permits more dynamic shared memory than every kernel may have; function is about to be launched. */
    int permitShared(long function, int bytes);
}
