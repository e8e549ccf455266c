package dev.optgptq.gptq.solve;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Small vectors between Java arrays and a device: orders, diagonals, sums. */
final class HostVectors {

    private HostVectors() {}

    static Tensor upload(Device device, TensorArena arena, int[] values) {
        try (Arena host = Arena.ofConfined()) {
            Tensor tensor = arena.vector(DType.I32, values.length);
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, values), tensor);
            return tensor;
        }
    }

    static Tensor upload(Device device, TensorArena arena, float[] values) {
        try (Arena host = Arena.ofConfined()) {
            Tensor tensor = arena.vector(DType.F32, values.length);
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), tensor);
            return tensor;
        }
    }

    static float[] floats(Device device, Tensor vector) {
        return download(device, vector).toArray(ValueLayout.JAVA_FLOAT);
    }

    static double[] doubles(Device device, Tensor vector) {
        return download(device, vector).toArray(ValueLayout.JAVA_DOUBLE);
    }

    private static MemorySegment download(Device device, Tensor vector) {
        MemorySegment host = Arena.ofAuto().allocate(vector.elements() * vector.dtype().bytes(), Double.BYTES);
        device.download(vector, host);
        return host;
    }
}
