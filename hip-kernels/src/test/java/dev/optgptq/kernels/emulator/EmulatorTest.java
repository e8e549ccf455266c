package dev.optgptq.kernels.emulator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the emulator must find, since a card may not: it makes mistakes in kernels fail, and says where they are. */
class EmulatorTest {

    /** Seeds within which a race must show: half of all orders of two threads do. */
    private static final int SEEDS = 40;

    private Emulator emulator;

    @BeforeEach
    void open() {
        emulator = Emulator.open(64);
    }

    @AfterEach
    void close() {
        emulator.close();
    }

    private static String kernel(String body) {
        return "#include \"portability.h\"\nKERNEL(256) broken(float* out, int n) {\n" + body + "\n}\n";
    }

    private String failureOf(String body) {
        return String.valueOf(assertThrows(UserError.class, () -> emulator.run(kernel(body), 128, 1)).getMessage());
    }

    @ParameterizedTest
    @ValueSource(ints = {64, 32})
    void a_kernel_computes_with_the_wave_width_of_the_library(int wave) {
        emulator.close();
        emulator = Emulator.open(wave);

        float[] out = emulator.run(kernel("""
                out[threadIdx.x] = GPU_WAVE + shuffle((float)threadIdx.x, 3, 8);
                """), 128, 1);

        assertEquals(wave + 8 + 3, out[9]);
    }

    @ParameterizedTest
    @ValueSource(strings = {"if (threadIdx.x < 70) { __syncthreads(); }",
            "if (threadIdx.x < 70) { return; } __syncthreads();",
            "if (threadIdx.x % 2) { __syncthreads(); }\nelse { __syncthreads(); }"})
    void a_barrier_that_not_all_threads_reach_is_an_error(String body) {
        String failure = failureOf(body);

        assertTrue(failure.contains("kernel broken") && failure.contains("divergent"), failure);
        assertTrue(failure.contains("broken.hip:3"), failure);
    }

    @Test
    void an_exchange_without_all_lanes_of_the_wave_is_an_error() {
        String body = "if (threadIdx.x % 2) { out[threadIdx.x] = shuffle(1, 0, 32); }";
        assertTrue(failureOf(body).contains("divergent"), () -> failureOf(body));
    }

    @ParameterizedTest
    @ValueSource(strings = {"128", "-1"})
    void an_index_outside_a_shared_array_is_an_error(String index) {
        String failure = failureOf("SHARED(float, tile, 128); tile[threadIdx.x == 5 ? " + index + " : 0] = 1;");

        assertTrue(
                failure.contains("thread (5, 0, 0) uses element " + index + " of the shared array tile, which has 128"),
                failure);
    }

    @ParameterizedTest
    @ValueSource(strings = {"out[n] = 1;", "out[0] = out[n + 5];", "out[-1025] = 1;"})
    void touching_memory_outside_a_block_of_the_device_is_an_error(String body) {
        String failure = failureOf(body);

        assertTrue(failure.contains("touches byte") && failure.contains("of a block of 512 bytes"), failure);
    }

    @Test
    void a_stack_that_is_full_is_an_error() {
        String body = "volatile float big[40000]; big[n] = 1; out[0] = big[n + 3];";
        String failure = failureOf(body);

        assertTrue(failure.contains("below its stack"), failure);
    }

    @Test
    void a_null_pointer_is_an_error_and_leaves_the_JVM_alive() {
        String body = "float* none = 0; out[0] = none[n];";
        String failure = failureOf(body);

        assertTrue(failure.contains("which is no device memory"), failure);
    }

    @Test
    void shared_memory_is_not_a_number_until_it_is_written() {
        String body = "SHARED(float, tile, 128); out[threadIdx.x] = tile[threadIdx.x];";
        float[] out = emulator.run(kernel(body), 128, 1);

        assertTrue(Float.isNaN(out[7]), () -> "found " + out[7]);
    }

    @Test
    void a_missing_barrier_shows_under_some_order_of_the_threads() {
        String body = """
                SHARED(float, tile, 128);
                tile[threadIdx.x] = threadIdx.x;
                out[threadIdx.x] = tile[127 - threadIdx.x];
                """;
        boolean right = true;
        for (int seed = 0; seed < SEEDS; seed++) {
            right &= emulator.run(kernel(body), 128, seed)[0] == 127;
        }

        assertFalse(right, SEEDS + " orders did not show it");
    }

    @Test
    void with_the_barrier_no_order_of_the_threads_changes_the_result() {
        String body = """
                SHARED(float, tile, 128);
                tile[threadIdx.x] = threadIdx.x;
                __syncthreads();
                out[threadIdx.x] = tile[127 - threadIdx.x];
                """;
        for (int seed = 0; seed < SEEDS; seed++) {
            assertEquals(127, emulator.run(kernel(body), 128, seed)[0], "seed " + seed);
        }
    }

    @Test
    void a_source_that_does_not_compile_is_refused_with_the_compilers_words() {
        String body = "this is no kernel;";
        String failure = failureOf(body);

        assertTrue(failure.contains("broken.hip:3"), failure);
    }
}
