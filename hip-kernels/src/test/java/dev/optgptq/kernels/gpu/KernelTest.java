package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class KernelTest {

    private static final String COLLECT = """
            KERNEL(64) collect(double* out, const float* absent, int i, i64 l, float f) {
                if (threadIdx.x == 0) {
                    out[blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z)] =
                        absent == 0 ? i + (double)l + f + blockIdx.x : -1;
                }
            }
            """;

    @Test
    void arguments_and_the_grid_reach_the_kernel() {
        try (EmulatedContext emulated = EmulatedContext.open();
                TensorArena arena = emulated.context().arena();
                Arena host = Arena.ofConfined()) {
            Tensor out = arena.vector(DType.F64, 2 * 3 * 4);
            emulated.kernel("collect", COLLECT).launchGrid(2, 3, 4, 64, 0, out, null, -7, 1L << 40, 0.5f);
            MemorySegment found = host.allocate(24 * 8);
            emulated.context().download(out, found);
            for (int i = 0; i < 24; i++) {
                assertEquals((1L << 40) - 7 + 0.5 + i % 2, found.getAtIndex(ValueLayout.JAVA_DOUBLE, i));
            }
        }
    }

    @Test
    void a_grid_without_blocks_starts_nothing() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            emulated.kernel("collect", COLLECT).launchGrid(0, 1, 1, 64, 0, null, null, 0, 0L, 0f);
            emulated.context().synchronize();
        }
    }

    @Test
    void a_grid_beyond_what_every_device_takes_is_a_mistake_of_the_caller() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            Kernel kernel = emulated.kernel("collect", COLLECT);
            assertThrows(IllegalArgumentException.class,
                    () -> kernel.launchGrid(1, 65536, 1, 64, 0, null, null, 0, 0L, 0f));
        }
    }

    @Test
    void an_unknown_function_is_named() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            emulated.kernel("collect", COLLECT);
            UserError missing = assertThrows(UserError.class, () -> emulated.context().kernel("collect", "gather"));
            String message = String.valueOf(missing.getMessage());
            assertTrue(message.startsWith("hip: hipModuleGetFunction gather failed with code 500, hipErrorNotFound"),
                    message);
        }
    }

    @Test
    void a_source_that_does_not_compile_shows_the_compilers_log() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            UserError failed = assertThrows(UserError.class,
                    () -> emulated.kernel("broken", "KERNEL(64) broken(int i) { i = missing_name; }"));
            String message = String.valueOf(failed.getMessage());
            assertTrue(message.contains("kernel source broken") && message.contains("broken.hip:2")
                    && message.contains("missing_name"), message);
        }
    }
}
