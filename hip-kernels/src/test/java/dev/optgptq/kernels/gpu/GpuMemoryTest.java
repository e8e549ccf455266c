package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

class GpuMemoryTest {

    @Test
    void memory_is_counted_per_arena_and_the_peak_remembered() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            GpuMemory memory = emulated.context().memory();
            try (TensorArena first = emulated.context().arena()) {
                first.matrix(DType.F32, 16, 16);
                try (TensorArena second = emulated.context().arena()) {
                    second.vector(DType.F64, 64);
                    assertEquals(1024 + 512, memory.inUse());
                }
                assertEquals(1024, memory.inUse());
            }
            assertEquals(0, memory.inUse());
            assertEquals(1024 + 512, memory.peak());
        }
    }

    @Test
    void a_block_that_was_given_back_is_the_next_of_its_size() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            long first;
            try (TensorArena arena = emulated.context().arena()) {
                first = arena.matrix(DType.F32, 10, 10).memory().address();
            }
            try (TensorArena arena = emulated.context().arena()) {
                assertNotEquals(first, arena.matrix(DType.F32, 100, 10).memory().address());
                assertEquals(first, arena.matrix(DType.F32, 20, 5).memory().address());
            }
        }
    }

    @Test
    void a_full_device_says_what_was_asked_for_and_what_was_free() {
        try (EmulatedContext emulated = EmulatedContext.open(); TensorArena arena = emulated.context().arena()) {
            long total = emulated.context().info().memory();
            UserError full = assertThrows(UserError.class, () -> arena.matrix(DType.F32, total, 1));
            assertEquals(UserError.Code.MEMORY, full.code());
            String message = String.valueOf(full.getMessage());
            String size = (total >> 20) + ".0 MiB";
            assertTrue(message.contains("on hip:0 for a tensor F32 [" + total + ", 1]")
                    && message
                            .contains("asked for " + ((total * 4) >> 20) + ".0 MiB, free are " + size + " of " + size),
                    message);
        }
    }

    @Test
    void blocks_kept_for_later_make_room_when_the_device_is_full() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            long most = emulated.context().info().memory() - (64L << 20);
            try (TensorArena arena = emulated.context().arena()) {
                arena.vector(DType.U8, 128L << 20);
            }
            try (TensorArena arena = emulated.context().arena()) {
                assertEquals(most, arena.vector(DType.U8, most).memory().byteSize());
            }
        }
    }

    /** A job goes through phases, each of which needs other sizes: what it holds follows the largest, not all of them. */
    @Test
    void blocks_kept_for_later_go_back_when_they_are_more_than_a_share_of_what_was_ever_in_use() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            GpuContext context = emulated.context();
            long most = 40L << 20;
            for (int phase = 0; phase < 12; phase++) {
                try (TensorArena arena = context.arena()) {
                    arena.vector(DType.U8, most / 2);
                    arena.vector(DType.U8, most / 2 - phase * 4096L);
                }
            }
            GpuDriver.MemoryInfo now = context.driver().memory();

            long held = now.total() - now.free();
            assertTrue(held <= most + most / 16 + (128L << 20), () -> held + " bytes held");
            assertEquals(most, context.memory().peak());
        }
    }

    @Test
    void a_tensor_of_another_memory_is_refused_before_the_device_sees_its_address() {
        try (EmulatedContext emulated = EmulatedContext.open(); Arena host = Arena.ofConfined()) {
            Tensor foreign = Tensor.dense(DType.F32, 1, 4, host.allocate(16));
            assertThrows(IllegalArgumentException.class, () -> emulated.context().memory().address(foreign));
        }
    }

    @Test
    void a_tensor_is_refused_once_its_arena_is_closed() {
        try (EmulatedContext emulated = EmulatedContext.open()) {
            Tensor late;
            try (TensorArena arena = emulated.context().arena()) {
                late = arena.matrix(DType.F32, 3, 3);
            }
            assertThrows(IllegalArgumentException.class, () -> emulated.context().memory().address(late));
        }
    }
}
