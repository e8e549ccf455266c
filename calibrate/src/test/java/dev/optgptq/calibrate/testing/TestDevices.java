package dev.optgptq.calibrate.testing;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Moves numbers between tests and devices. */
public final class TestDevices {

    private TestDevices() {}

    public static Device reference() {
        return Devices.open("reference", 1);
    }

    /** F32 [rows, values / rows]. */
    public static Tensor upload(Device device, TensorArena arena, long rows, float... values) {
        Tensor target = arena.matrix(DType.F32, rows, values.length / rows);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), target);
        }
        return target;
    }

    /** Row-major values of an F32 tensor. */
    public static float[] download(Device device, Tensor source) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(ValueLayout.JAVA_FLOAT, source.elements());
            device.download(source, bytes);
            return bytes.toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
