package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Downloads.Download;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** Each promise under many orders of the two streams. */
class GpuDownloadsTest {

    private static final int SEEDS = 30;
    /** Small, so that a download takes both buffers, and each twice. */
    private static final long BUFFER = 300;
    private static final int BYTES = 1000;

    private interface Program {
        void run(GpuContext context, GpuDownloads downloads, int seed);
    }

    private static void underManyOrders(Program program) {
        for (int seed = 0; seed < SEEDS; seed++) {
            try (EmulatedContext emulated = EmulatedContext.open()) {
                emulated.seed(seed);
                try (GpuDownloads downloads = new GpuDownloads(emulated.context(), new Health("hip:0", "hip"),
                        BUFFER)) {
                    program.run(emulated.context(), downloads, seed);
                    emulated.context().synchronize();
                    downloads.drain();
                }
            }
        }
    }

    @Test
    void what_was_computed_before_it_began_arrives() {
        underManyOrders((context, downloads, seed) -> {
            try (TensorArena arena = context.arena(); Arena host = Arena.ofShared()) {
                Tensor tensor = arena.vector(DType.U8, BYTES);
                MemorySegment bytes = host.allocate(BYTES);
                fill(context, tensor, (byte) 7);
                Download download = downloads.begin(tensor, bytes);
                download.await();
                assertTrue(download.hasEnded());
                assertEquals(7, bytes.get(ValueLayout.JAVA_BYTE, BYTES - 1), "seed " + seed);
            }
        });
    }

    /** Without the end of the copy the next owner's work could come before it. */
    @Test
    void memory_that_is_freed_once_it_has_ended_may_be_written_at_once() {
        underManyOrders((context, downloads, seed) -> {
            try (Arena host = Arena.ofShared()) {
                MemorySegment bytes = host.allocate(BYTES);
                try (TensorArena arena = context.arena()) {
                    Tensor tensor = arena.vector(DType.U8, BYTES);
                    fill(context, tensor, (byte) 7);
                    downloads.begin(tensor, bytes).await();
                }
                try (TensorArena arena = context.arena()) {
                    fill(context, arena.vector(DType.U8, BYTES), (byte) 3);
                    context.synchronize();
                }
                assertEquals(7, bytes.get(ValueLayout.JAVA_BYTE, 0), "seed " + seed);
            }
        });
    }

    @Test
    void a_wait_throws_what_the_copy_failed_with() {
        try (EmulatedContext emulated = EmulatedContext.open(); Arena host = Arena.ofShared()) {
            GpuContext context = emulated.context();
            try (TensorArena arena = context.arena()) {
                Download download = context.downloads().begin(arena.vector(DType.U8, BYTES), host.allocate(1));
                String failure = String.valueOf(
                        assertThrows(IllegalArgumentException.class, download::await).getMessage());
                assertTrue(failure.contains("the host memory given 1"), failure);
            }
        }
    }

    @Test
    void a_lost_device_is_neither_asked_nor_waited_for() {
        Health health = new Health("hip:0", "hip");
        try (EmulatedContext emulated = EmulatedContext.open(); Arena host = Arena.ofShared()) {
            GpuContext context = emulated.context();
            GpuDownloads downloads = new GpuDownloads(context, health, BUFFER);
            try (TensorArena arena = context.arena()) {
                assertThrows(UserError.class, () -> health.tell(() -> {
                    throw new UserError(UserError.Code.DEVICE_LOST, "an illegal address");
                }));
                UserError refused = assertThrows(UserError.class,
                        () -> downloads.begin(arena.vector(DType.U8, BYTES), host.allocate(BYTES)));
                assertEquals(UserError.Code.DEVICE_LOST, refused.code());
                downloads.drain();
            }
            downloads.close();
        }
    }

    private static void fill(GpuContext context, Tensor tensor, byte value) {
        context.driver().fill(context.address(tensor), value, BYTES, context.stream());
    }
}
