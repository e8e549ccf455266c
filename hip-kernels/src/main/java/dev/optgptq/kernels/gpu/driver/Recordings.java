package dev.optgptq.kernels.gpu.driver;

/**
 * Work that a stream records instead of doing it, to be issued again as a whole by one call: the graphs of both runtimes.
 * Arguments and addresses are recorded as they are; what they point at is read when it is replayed.
 */
public interface Recordings {

    /** From now on the stream records. Waiting for it fails until {@link #end}. */
    void begin(long stream);

    /** Ends recording. UserError DEVICE where something was issued that cannot be recorded; the stream works again. */
    long end(long stream);

    /** Issues all that was recorded. */
    void replay(long recording, long stream);

    void destroy(long recording);
}
