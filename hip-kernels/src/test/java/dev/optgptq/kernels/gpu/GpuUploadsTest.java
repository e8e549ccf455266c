package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.Together;
import dev.optgptq.kernels.Uploads;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** Each promise under many orders of the two streams, and that it is kept by the wait that it takes. */
class GpuUploadsTest {

    private static final int SEEDS = 30;
    /** Small, so that an upload takes both buffers, and no more, since it waits for neither. */
    private static final long BUFFER = 600;
    private static final int BYTES = 1000;

    /** What is done with a context and uploads beside it; returns one byte of the result. */
    private interface Program {
        byte run(GpuContext context, Uploads uploads);
    }

    private static boolean isAlways(int expected, Program program) {
        boolean right = true;
        for (int seed = 0; seed < SEEDS; seed++) {
            try (EmulatedContext emulated = EmulatedContext.open()) {
                emulated.seed(seed);
                try (GpuUploads uploads = new GpuUploads(emulated.context(), new Health("hip:0", "hip"), BUFFER)) {
                    right &= program.run(emulated.context(), uploads) == expected;
                    emulated.context().synchronize();
                    uploads.drain();
                }
            }
        }
        return right;
    }

    private static byte uploadThenRead(GpuContext context, Uploads uploads, boolean awaits) {
        try (TensorArena arena = context.arena()) {
            Tensor tensor = arena.vector(DType.U8, BYTES);
            uploads.begin();
            upload(uploads, (byte) 7, tensor);
            if (awaits) {
                uploads.await();
            }
            return lastByte(context, tensor);
        }
    }

    @Test
    void what_was_uploaded_is_there_for_what_the_device_is_given_behind_the_wait() {
        assertTrue(isAlways(7, (context, uploads) -> uploadThenRead(context, uploads, true)));
    }

    @Test
    void without_the_wait_it_is_not() {
        assertFalse(isAlways(7, (context, uploads) -> uploadThenRead(context, uploads, false)));
    }

    /** A block that was given back while the stream still reads it, and is handed out again to be uploaded to. */
    private static byte uploadToMemoryInUse(GpuContext context, Uploads uploads, boolean begins) {
        try (TensorArena arena = context.arena()) {
            Tensor copy = arena.vector(DType.U8, BYTES);
            long before;
            try (TensorArena scratch = context.arena()) {
                Tensor first = scratch.vector(DType.U8, BYTES);
                before = context.address(first);
                fill(context, first, (byte) 7);
                context.synchronize();
                context.driver().copyOnDevice(context.address(copy), context.address(first), BYTES, context.stream());
            }
            Tensor again = arena.vector(DType.U8, BYTES + 10);
            assertEquals(before, context.address(again), "the same block");
            if (begins) {
                uploads.begin();
            }
            upload(uploads, (byte) 1, again);
            byte found = lastByte(context, copy);
            uploads.await();
            return found;
        }
    }

    @Test
    void memory_that_the_device_still_reads_is_not_overwritten() {
        assertTrue(isAlways(7, (context, uploads) -> uploadToMemoryInUse(context, uploads, true)));
    }

    @Test
    void without_the_beginning_it_is() {
        assertFalse(isAlways(7, (context, uploads) -> uploadToMemoryInUse(context, uploads, false)));
    }

    @Test
    void memory_that_was_given_back_behind_the_wait_may_be_written_by_the_device_at_once() {
        assertTrue(isAlways(3, (context, uploads) -> {
            try (TensorArena lent = context.arena()) {
                Tensor target = lent.vector(DType.U8, BYTES);
                uploads.begin();
                upload(uploads, (byte) 7, target);
                uploads.await();
            }
            try (TensorArena arena = context.arena()) {
                Tensor again = arena.vector(DType.U8, BYTES);
                fill(context, again, (byte) 3);
                return lastByte(context, again);
            }
        }));
    }

    /** On a thread of its own, as it is meant. */
    private static void upload(Uploads uploads, byte value, Tensor target) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(target.elements()).fill(value);
            Thread thread = Thread.ofPlatform().start(() -> uploads.upload(bytes, target));
            Together.await(thread);
        }
    }

    private static void fill(GpuContext context, Tensor tensor, byte value) {
        context.driver().fill(context.address(tensor), value, BYTES, context.stream());
    }

    private static byte lastByte(GpuContext context, Tensor tensor) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(tensor.elements());
            context.download(tensor, bytes);
            return bytes.get(ValueLayout.JAVA_BYTE, BYTES - 1);
        }
    }
}
