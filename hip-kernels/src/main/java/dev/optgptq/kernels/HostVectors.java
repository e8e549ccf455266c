package dev.optgptq.kernels;

import dev.optgptq.formats.dtype.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Small vectors between Java arrays and a device: orders, diagonals, sums, counts. Downloads wait for the device. */
public final class HostVectors {

    private HostVectors() {}

    /** I32 [1, n]. */
    public static Tensor upload(Device device, TensorArena arena, int[] values) {
        try (Arena host = Arena.ofConfined()) {
            Tensor tensor = arena.vector(DType.I32, values.length);
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, values), tensor);
            return tensor;
        }
    }

    /** F32 [1, n]. */
    public static Tensor upload(Device device, TensorArena arena, float[] values) {
        try (Arena host = Arena.ofConfined()) {
            Tensor tensor = arena.vector(DType.F32, values.length);
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), tensor);
            return tensor;
        }
    }

    /** The elements of an I32 tensor, row by row. */
    public static int[] ints(Device device, Tensor tensor) {
        return download(device, tensor).toArray(ValueLayout.JAVA_INT);
    }

    /** The elements of an F32 tensor, row by row. */
    public static float[] floats(Device device, Tensor tensor) {
        return download(device, tensor).toArray(ValueLayout.JAVA_FLOAT);
    }

    /** The elements of an F64 tensor, row by row. */
    public static double[] doubles(Device device, Tensor tensor) {
        return download(device, tensor).toArray(ValueLayout.JAVA_DOUBLE);
    }

    /** The elements of an I64 tensor, row by row. */
    public static long[] longs(Device device, Tensor tensor) {
        return download(device, tensor).toArray(ValueLayout.JAVA_LONG);
    }

    private static MemorySegment download(Device device, Tensor tensor) {
        MemorySegment host = Arena.ofAuto().allocate(tensor.bytes(), Double.BYTES);
        device.download(tensor, host);
        return host;
    }
}
