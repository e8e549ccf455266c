package dev.optgptq.kernels.gpu;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.emulator.Emulator;
import dev.optgptq.kernels.ffm.NativeLibrary;
import dev.optgptq.kernels.ffm.Setting;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class GpuContextTest {

    private static final String STORE = "KERNEL(64) store(float* out, i64 at) { out[at + threadIdx.x] = 1; }";
    /** Behind a block of 64, where the emulator has a page that nobody may touch. */
    private static final long OUTSIDE = 64;

    @Test
    void whatever_is_taken_from_the_driver_is_given_back_though_an_arena_was_forgotten() {
        CountingDriver counting = new CountingDriver();
        try (EmulatedContext emulated = EmulatedContext.open(counting::around); Arena host = Arena.ofConfined()) {
            Tensor tensor = emulated.context().arena().vector(DType.F32, 64);
            try (TensorArena arena = emulated.context().arena()) {
                emulated.context().upload(host.allocate(400), arena.vector(DType.F32, 100));
            }
            emulated.kernel("store", STORE).launchGrid(1, 1, 1, 64, 0, tensor, 0L);
            emulated.context().download(tensor, host.allocate(256));
        }
        assertEquals(CountingDriver.ways(), counting.taken().size(), () -> "took only " + counting.taken());
        assertEquals(Map.of(), counting.held());
    }

    @Test
    void a_kernel_that_fails_is_reported_with_what_to_do() {
        EmulatedContext emulated = EmulatedContext.open();
        try {
            Tensor tensor = emulated.context().arena().vector(DType.F32, 64);
            Kernel kernel = emulated.kernel("store", STORE);
            UserError lost = assertThrows(UserError.class, () -> {
                kernel.launchGrid(1, 1, 1, 64, 0, tensor, OUTSIDE);
                emulated.context().synchronize();
            });
            String message = String.valueOf(lost.getMessage());
            assertEquals(UserError.Code.DEVICE, lost.code());
            assertTrue(message.contains("code 719") && message.contains("start again"), message);
        } finally {
            assertThrows(UserError.class, emulated::close, "a lost device cannot be closed without saying so");
            reset();
        }
    }

    /** The emulator keeps a failure, as a card does, but here other tests follow in the same process. */
    private static void reset() {
        try {
            NativeLibrary library = NativeLibrary.load(new NativeLibrary.Search("emulator", new Setting("unset"),
                    List.of(Emulator.library(64).toString())));
            int status = (int) library.function("hipDeviceReset", JAVA_INT).invokeExact();
            assertEquals(0, status);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
