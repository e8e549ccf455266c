package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import org.junit.jupiter.api.Test;

class GpuRecorderTest {

    private static final String ADD = """
            KERNEL(64) add_to(float* x, const float* y) {
                if (threadIdx.x < 2) {
                    x[threadIdx.x] += y[threadIdx.x];
                }
            }
            """;

    @Test
    void a_recording_does_nothing_until_it_is_replayed_with_what_the_tensors_hold_then() {
        try (EmulatedContext emulated = EmulatedContext.open(); TensorArena arena = emulated.context().arena()) {
            GpuContext context = emulated.context();
            Tensor x = arena.vector(DType.F32, 2);
            Tensor y = arena.vector(DType.F32, 2);
            write(context, x, 1, 2);
            Kernel add = emulated.kernel("add_to", ADD);
            try (Device.Recording twice = new GpuRecorder(context).record(() -> {
                add.launch(1, 64, 0, x, y);
                add.launch(1, 64, 0, x, y);
            })) {
                assertArrayEquals(new float[] {1, 2}, read(context, x));
                write(context, y, 10, 20);
                twice.replay();
                write(context, y, 100, 200);
                twice.replay();
                assertArrayEquals(new float[] {221, 442}, read(context, x));
            }
        }
    }

    @Test
    void scratch_memory_of_recorded_work_is_nobody_elses_until_the_recording_is_closed() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            GpuContext context = emulated.context();
            long[] scratch = new long[2];
            Device.Recording recording = new GpuRecorder(context).record(() -> {
                scratch[0] = allocateAndFree(context);
                scratch[1] = allocateAndFree(context);
            });
            assertEquals(scratch[0], scratch[1], "one after the other, the work itself uses it again");
            assertNotEquals(scratch[0], allocateAndFree(context));
            recording.close();
            assertEquals(scratch[0], allocateAndFree(context));
        }
    }

    @Test
    void work_that_waits_for_the_device_runs_as_it_is() {
        try (EmulatedContext emulated = EmulatedContext.open(); TensorArena arena = emulated.context().arena()) {
            GpuContext context = emulated.context();
            Tensor x = arena.vector(DType.F32, 2);
            write(context, x, 1, 2);
            Kernel add = emulated.kernel("add_to", ADD);
            try (Device.Recording recording = new GpuRecorder(context).record(() -> {
                add.launch(1, 64, 0, x, x);
                context.synchronize();
            })) {
                recording.replay();
                recording.replay();
                assertArrayEquals(new float[] {4, 8}, read(context, x));
            }
        }
    }

    @Test
    void where_the_runtime_cannot_record_work_runs_as_it_is() {
        try (EmulatedContext emulated = EmulatedContext.open(GpuRecorderTest::withoutRecordings);
                TensorArena arena = emulated.context().arena()) {
            GpuContext context = emulated.context();
            Tensor x = arena.vector(DType.F32, 2);
            write(context, x, 1, 2);
            Kernel add = emulated.kernel("add_to", ADD);
            try (Device.Recording recording = new GpuRecorder(context).record(() -> add.launch(1, 64, 0, x, x))) {
                recording.replay();
                assertArrayEquals(new float[] {2, 4}, read(context, x));
            }
        }
    }

    private static GpuDriver withoutRecordings(GpuDriver driver) {
        return (GpuDriver) Proxy.newProxyInstance(GpuDriver.class.getClassLoader(), new Class<?>[] {GpuDriver.class},
                (proxy, method, arguments) -> {
                    if (method.getName().equals("recordings")) {
                        throw new UserError(UserError.Code.DEVICE, "the library has no function hipStreamBeginCapture");
                    }
                    try {
                        return method.invoke(driver, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    private static long allocateAndFree(GpuContext context) {
        try (TensorArena arena = context.arena()) {
            return context.address(arena.vector(DType.F32, 1000));
        }
    }

    private static void write(GpuContext context, Tensor tensor, float... values) {
        try (Arena host = Arena.ofConfined()) {
            context.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), tensor);
            context.synchronize();
        }
    }

    private static float[] read(GpuContext context, Tensor tensor) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment values = host.allocate(tensor.elements() * Float.BYTES);
            context.download(tensor, values);
            return values.toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
