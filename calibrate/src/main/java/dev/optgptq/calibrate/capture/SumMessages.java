package dev.optgptq.calibrate.capture;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostBytes;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Bytes between two ranks, or of a rank to itself: what it sends to itself waits in host memory, so that its own sums take their
 * turn among the others'.
 */
interface SumMessages {

    /** Sends bytes, which may then change. */
    void put(MemorySegment bytes);

    /** Receives as many bytes. */
    void get(MemorySegment bytes);

    /** Between this rank and another. */
    static SumMessages between(Ranks ranks, int other) {
        return new SumMessages() {
            @Override
            public void put(MemorySegment bytes) {
                ranks.send(other, bytes);
            }

            @Override
            public void get(MemorySegment bytes) {
                ranks.receive(other, bytes);
            }
        };
    }

    /** To itself, in order; the arena owns what waits. */
    static SumMessages toItself(Arena arena) {
        Deque<MemorySegment> waiting = new ArrayDeque<>();
        return new SumMessages() {
            @Override
            public void put(MemorySegment bytes) {
                waiting.addLast(arena.allocate(bytes.byteSize(), Long.BYTES).copyFrom(bytes));
            }

            @Override
            public void get(MemorySegment bytes) {
                bytes.copyFrom(waiting.removeFirst());
            }
        };
    }

    /** Sends a dense tensor. */
    default void put(Device device, Tensor tensor) {
        HostBytes.download(device, tensor, this::put);
    }

    /** Receives a dense tensor. */
    default void get(Device device, Tensor tensor) {
        HostBytes.upload(device, tensor, this::get);
    }

    /** Sends numbers. */
    default void put(long... numbers) {
        try (Arena host = Arena.ofConfined()) {
            put(host.allocateFrom(ValueLayout.JAVA_LONG, numbers));
        }
    }

    /** Receives {@code count} numbers. */
    default long[] get(int count) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_LONG, count);
            get(bytes);
            return bytes.toArray(ValueLayout.JAVA_LONG);
        }
    }
}
