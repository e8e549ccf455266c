package dev.optgptq.gptq.bench;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.kernels.Device.Halves;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Measures the rates of a device: matmuls, copies on it, copies to it. */
final class DeviceRates {

    /** Matrices to copy: enough to exceed every cache, as far as the shape allows. */
    private static final int COPIED = 8;

    private final Device device;
    private final Stopwatch stopwatch;

    DeviceRates(Device device) {
        this.device = device;
        this.stopwatch = new Stopwatch(device);
    }

    /**
     * @param size of the square matrices
     * @param half F16 or BF16
     */
    Rates measure(long size, DType half) {
        double operations = 2.0 * size * size * size;
        double float32 = operations / product(size, DType.F32);
        @Nullable
        Double halves = device.halves(half) == Halves.WIDENED ? null : (Double) (operations / product(size, half));
        return new Rates(size, float32, halves, copy(size), upload(size));
    }

    private double product(long size, DType dtype) {
        try (TensorArena arena = device.arena()) {
            Tensor x = filled(arena, dtype, size);
            Tensor w = filled(arena, dtype, size);
            Tensor y = arena.matrix(DType.F32, size, size);
            return stopwatch.seconds(() -> device.matrix().linear(x, w, null, 0, y));
        }
    }

    /** Random numbers: a device that multiplies zeros draws less power and seems faster. */
    private Tensor filled(TensorArena arena, DType dtype, long size) {
        Tensor filled = arena.matrix(dtype, size, size);
        RandomValues.fill(device, arena, filled);
        return filled;
    }

    private double copy(long size) {
        try (TensorArena arena = device.arena()) {
            Tensor source = arena.matrix(DType.F32, COPIED * size, size);
            Tensor target = arena.matrix(DType.F32, COPIED * size, size);
            device.matrix().fill(source, 1);
            double bytes = 2.0 * source.memory().byteSize();
            return bytes / stopwatch.seconds(() -> device.matrix().copy(source, target));
        }
    }

    private double upload(long size) {
        try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
            Tensor target = arena.matrix(DType.F32, size, size);
            MemorySegment source = host.allocate(target.memory().byteSize(), 64);
            return source.byteSize() / stopwatch.seconds(() -> device.upload(source, target));
        }
    }
}
