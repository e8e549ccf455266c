package dev.optgptq.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/** Dense tensors on their way through host memory, which is freed when a call returns. */
public final class HostBytes {

    private HostBytes() {}

    /** Gives the tensor's bytes, row by row, to a receiver. */
    public static void download(Device device, Tensor tensor, Consumer<MemorySegment> receiver) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(tensor.bytes(), Long.BYTES);
            device.download(tensor, bytes);
            receiver.accept(bytes);
        }
    }

    /** Writes the bytes that a source puts into the memory it is given to the tensor. */
    public static void upload(Device device, Tensor tensor, Consumer<MemorySegment> source) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(tensor.bytes(), Long.BYTES);
            source.accept(bytes);
            device.upload(bytes, tensor);
            device.synchronize();
        }
    }
}
