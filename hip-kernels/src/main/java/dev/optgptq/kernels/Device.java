package dev.optgptq.kernels;

import java.lang.foreign.MemorySegment;

/**
 * One compute device: memory, copies and the op set. Ops are issued in order; on an accelerator they run
 * asynchronously, and download() and synchronize() wait for them. Not safe for concurrent use by several threads.
 */
public interface Device extends AutoCloseable {

    /** What it is called on the command line: "cpu", "reference", "hip:0". */
    String name();

    /** One line for people: processor, cores, vector width, library. */
    String description();

    TensorArena arena();

    NeuralOps neural();

    MatrixOps matrix();

    QuantOps quant();

    GradientOps gradient();

    /** Copies host bytes (dense, little-endian, rows * columns elements) into a tensor. */
    void upload(MemorySegment source, Tensor target);

    /** Copies a tensor into host bytes (dense, little-endian), after the ops before it. */
    void download(Tensor source, MemorySegment target);

    /** Waits until every op issued so far is done. */
    void synchronize();

    /** Bytes allocated from all its arenas now. */
    long memoryInUse();

    /** The most bytes that were allocated at one time. */
    long peakMemory();

    @Override
    void close();
}
