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
import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.ffm.NativeLibrary;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import dev.optgptq.kernels.gpu.driver.GpuDrivers;
import dev.optgptq.kernels.gpu.rtc.RuntimeCompiler;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class GpuContextTest {

    private static final String STORE = "KERNEL(64) store(float* out, i64 at) { out[at + threadIdx.x] = 1; }";
    /** Behind a block of 64, where the emulator has a page that nobody may touch. */
    private static final long OUTSIDE = 64;

    @Test
    void whatever_is_taken_from_the_driver_is_given_back_though_an_arena_was_forgotten() {
        CountingDriver counting = new CountingDriver();
        try (EmulatedContext emulated = EmulatedContext.open(counting::around);
                Arena host = Arena.ofConfined();
                Arena shared = Arena.ofShared()) {
            Tensor tensor = emulated.context().arena().vector(DType.F32, 64);
            try (TensorArena arena = emulated.context().arena()) {
                emulated.context().upload(host.allocate(400), arena.vector(DType.F32, 100));
            }
            emulated.context().uploads().begin();
            emulated.context().uploads().upload(host.allocate(256), tensor);
            emulated.context().uploads().await();
            emulated.context().downloads().begin(tensor, shared.allocate(256)).await();
            emulated.kernel("store", STORE).launchGrid(1, 1, 1, 64, 0, tensor, 0L);
            emulated.context().download(tensor, host.allocate(256));
        }
        assertEquals(CountingDriver.ways(), counting.taken().size(), () -> "took only " + counting.taken());
        assertEquals(3, counting.taken().get("createStream"),
                "one to compute on, one to upload on, one to download on");
        assertEquals(Map.of(), counting.held());
    }

    @Test
    void a_context_that_cannot_be_opened_gives_back_what_it_had_taken() {
        CountingDriver counting = new CountingDriver();
        try (Emulator emulator = Emulator.open(64)) {
            GpuDriver driver = counting.around(GpuDrivers.hip());
            IllegalStateException failure = assertThrows(IllegalStateException.class,
                    () -> new GpuContext(driver, 0, RuntimeCompiler.of("hip"), context -> {
                        context.allocate(256, "a workspace");
                        throw new IllegalStateException("no matrix library");
                    }).close());
            assertEquals("no matrix library", failure.getMessage(), emulator::toString);
        }
        assertEquals(3, counting.taken().size(), () -> "took only " + counting.taken());
        assertEquals(Map.of(), counting.held());
    }

    @Test
    void a_kernel_that_fails_is_named_with_what_to_do() {
        withLostDevice((context, lost) -> {
            String message = String.valueOf(lost.getMessage());
            assertEquals(UserError.Code.DEVICE_LOST, lost.code());
            for (String part : List.of("hip:0 is lost", "code 719", "store.store", "Start again",
                    "AMD_SERIALIZE_KERNEL=3")) {
                assertTrue(message.contains(part), () -> part + " is not in " + message);
            }
        });
    }

    @Test
    void every_further_use_of_a_lost_device_says_why_and_does_not_ask_the_driver() {
        CountingDriver counting = new CountingDriver();
        withLostDevice(counting::around, (context, lost) -> {
            int before = counting.calls();
            try (Arena host = Arena.ofConfined()) {
                List<Executable> uses = List.of(context::synchronize, context::activate, context::arena,
                        () -> context.allocate(256, "anything"), () -> context.kernel("norms", "rms_norm"),
                        () -> context.launch("again", 0, new GpuDriver.Grid(1, 1, 1, 64), 0, new Object[0]),
                        () -> context.upload(host.allocate(4), Tensor.dense(DType.F32, 1, 1, host.allocate(4))));
                for (Executable use : uses) {
                    UserError again = assertThrows(UserError.class, use);
                    assertEquals(UserError.Code.DEVICE_LOST, again.code());
                    assertTrue(String.valueOf(again.getMessage()).startsWith("hip:0 is lost"), again.getMessage());
                }
            }
            assertEquals(before, counting.calls());
        });
    }

    @Test
    void closing_a_lost_device_asks_nothing_of_it_and_hides_no_failure() {
        CountingDriver counting = new CountingDriver();
        withLostDevice(counting::around, (context, lost) -> {
            int before = counting.calls();
            context.close();
            assertEquals(before, counting.calls());
        });
    }

    @Test
    void a_loss_that_only_closing_finds_out_is_thrown_and_nothing_else_is_asked() {
        CountingDriver counting = new CountingDriver();
        UserError lost = withDevice(counting::around, context -> {
            launchOutside(context);
            UserError found = assertThrows(UserError.class, context.context()::close);
            assertEquals(1, counting.held().get("createStream"), "what a lost device holds is left to its driver");
            return found;
        });
        assertEquals(UserError.Code.DEVICE_LOST, lost.code());
        assertEquals(0, lost.getSuppressed().length);
    }

    private static void withLostDevice(BiConsumer<GpuContext, UserError> test) {
        withLostDevice(driver -> driver, test);
    }

    /** The device is lost and has said so; what comes then is the test's. */
    private static void withLostDevice(UnaryOperator<GpuDriver> around, BiConsumer<GpuContext, UserError> test) {
        withDevice(around, emulated -> {
            UserError lost = assertThrows(UserError.class, () -> {
                launchOutside(emulated);
                emulated.context().synchronize();
            });
            test.accept(emulated.context(), lost);
            return lost;
        });
    }

    /** A launch that breaks a rule, which a later call says. */
    private static void launchOutside(EmulatedContext emulated) {
        Tensor tensor = emulated.context().arena().vector(DType.F32, 64);
        emulated.kernel("store", STORE).launchGrid(1, 1, 1, 64, 0, tensor, OUTSIDE);
    }

    private static <T> T withDevice(UnaryOperator<GpuDriver> around, Function<EmulatedContext, T> test) {
        EmulatedContext emulated = EmulatedContext.open(around);
        try {
            return test.apply(emulated);
        } finally {
            reset();
            emulated.close();
        }
    }

    /** The emulator keeps a failure, as a card does, but here other tests follow in the same process. */
    private static void reset() {
        try {
            NativeLibrary library = NativeLibrary
                    .load(new NativeLibrary.Search("emulator", new EnvironmentSetting("unset"),
                            List.of(Emulator.library(64).toString())));
            int status = (int) library.function("hipDeviceReset", JAVA_INT).invokeExact();
            assertEquals(0, status);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
