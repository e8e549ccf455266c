package dev.optgptq.kernels;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.DeltaOps;
import dev.optgptq.kernels.ops.Float64Ops;
import dev.optgptq.kernels.ops.FusedOps;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.MatrixOps;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.ops.QuantOps;
import dev.optgptq.kernels.ops.SeparateOps;
import dev.optgptq.kernels.ops.TuningOps;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * One compute device: memory, copies and the op set. Ops are issued in order; on an accelerator they run
 * asynchronously, and download() and synchronize() wait for them. Not safe for concurrent use by several threads.
 */
public interface Device extends AutoCloseable {

    /** Chunk size for copies between devices through the host. */
    long RECEIVED_BYTES = 16L << 20;

    /** Its name on the command line: "cpu", "reference", "hip:0". */
    String name();

    /** One line for people: CPU, cores, vector width, library. */
    String description();

    /**
     * Everything that decides the bits it computes, as text: devices with equal values give equal results. Its
     * description without what makes no difference, such as the number of threads.
     */
    default String arithmetic() {
        return description();
    }

    TensorArena arena();

    NeuralOps neural();

    MatrixOps matrix();

    QuantOps quant();

    GradientOps gradient();

    /** The ops of learned rounding. */
    TuningOps tuning();

    /** The ops of a mixture of experts. */
    MixtureOps mixture();

    /** The ops of linear attention by the gated delta rule. */
    DeltaOps delta();

    /** The ops of generation. */
    CacheOps cache();

    /** Neighbouring ops of a decoding step as one. */
    default FusedOps fused() {
        return new SeparateOps(neural(), cache());
    }

    /** Linear algebra in float64. */
    Float64Ops float64();

    /** Whether it is a GPU, whose default is what {@link #halves} finds. A CPU is asked for halves only where somebody wants them. */
    default boolean isAccelerator() {
        return false;
    }

    /**
     * How it multiplies in a half-precision dtype, F16 or BF16. With a library, determined by one matmul on first use.
     */
    default Halves halves(DType half) {
        return Halves.WIDENED;
    }

    /** What {@link #halves} found: the library that multiplies so, or why there is none; "" where nothing was looked for. */
    default String halvesRemark(DType half) {
        return "";
    }

    /** How a device multiplies fp16/bf16 matrices; sums are always in float32. */
    enum Halves {
        /** By a library, on matrix units: several times as fast as float32. */
        FAST,
        /** By a library, by instructions of a CPU: about twice as fast as float32, if x and w are both so. */
        VECTOR,
        /** By our own kernel on the float32 units: half the memory, no faster. */
        PLAIN,
        /** Widened to float32 first: slower than float32. */
        WIDENED
    }

    /** Copies host bytes (dense, little-endian, rows * columns elements) into a tensor. */
    void upload(MemorySegment source, Tensor target);

    /** Copies to it while it computes; empty if it computes in host memory. */
    default Optional<Uploads> uploads() {
        return Optional.empty();
    }

    /** Copies from it while it computes; at once if it computes in host memory. */
    default Downloads downloads() {
        return Downloads.atOnce(this);
    }

    /** Copies a tensor into host bytes (dense, little-endian), after the ops before it. */
    void download(Tensor source, MemorySegment target);

    /**
     * A tensor of another device on this one; the tensor itself if it is this device's. The other one must be done with it.
     *
     * @param arena owns the copy
     */
    default Tensor received(Device from, Tensor source, TensorArena arena) {
        if (from.equals(this)) {
            return source;
        }
        Tensor copy = arena.matrix(source.dtype(), source.rows(), source.columns());
        receive(from, source, copy);
        return copy;
    }

    /**
     * Copies a dense tensor of another device into one of this: directly where the machine can, else through the host.
     * The other device must have finished its work; the copy is complete when this returns.
     */
    default void receive(Device from, Tensor source, Tensor target) {
        long rows = Math.max(1, RECEIVED_BYTES / Math.max(1, source.columns() * source.dtype().bytes()));
        try (Arena host = Arena.ofShared()) {
            MemorySegment staging = host
                    .allocate(Math.min(rows, source.rows()) * source.columns() * source.dtype().bytes());
            for (long row = 0; row < source.rows(); row += rows) {
                long count = Math.min(rows, source.rows() - row);
                MemorySegment bytes = staging.asSlice(0, count * source.columns() * source.dtype().bytes());
                from.download(source.rows(row, count), bytes);
                upload(bytes, target.rows(row, count));
            }
        }
        synchronize();
    }

    /**
     * Work to be repeated with the same tensors, whose contents may change. On a device that can, the ops that it issues
     * are recorded now and issued by one call later; elsewhere it runs again each time. It is not run now, it issues the
     * same ops on the same tensors at any time, and neither copies from or to the host nor waits.
     */
    default Recording record(Runnable work) {
        return new Recording() {
            @Override
            public void replay() {
                work.run();
            }

            @Override
            public void close() {}
        };
    }

    /** Repeatable work, to be closed before the tensors that it uses. */
    interface Recording extends AutoCloseable {
        void replay();

        @Override
        void close();
    }

    /** Waits until every op issued so far is done. */
    void synchronize();

    /** Bytes that its arenas can still allocate, if it has its own memory; empty if it computes in host memory. */
    default OptionalLong freeMemory() {
        return OptionalLong.empty();
    }

    /** Bytes allocated from all its arenas now. */
    long memoryInUse();

    /** Peak of the allocated bytes. */
    long peakMemory();

    @Override
    void close();
}
