package dev.optgptq.kernels.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GpuTransferTest {

    private static final long SEED = 20251107;
    /** Small, so that small tensors take several turns of the two buffers. */
    private static final long BUFFER = 1000;

    @ParameterizedTest
    @CsvSource({"1, 1", "0, 5", "5, 0", "7, 13", "3, 1001", "1, 250", "1, 4003", "500, 25", "21, 250"})
    void bytes_come_back_as_they_went_whatever_the_shape(long rows, long columns) {
        try (EmulatedContext emulated = EmulatedContext.open();
                GpuTransfer transfer = transfer(emulated.context());
                TensorArena arena = emulated.context().arena();
                Arena host = Arena.ofConfined()) {
            MemorySegment sent = random(host, rows * columns * 4);
            Tensor tensor = arena.matrix(DType.F32, rows, columns);
            transfer.upload(sent, tensor);
            MemorySegment received = host.allocate(rows * columns * 4);
            transfer.download(tensor, received);
            assertEquals(-1, sent.mismatch(received), "seed " + SEED);
        }
    }

    @Test
    void bytes_may_change_as_soon_as_an_upload_returns() {
        try (EmulatedContext emulated = EmulatedContext.open();
                GpuTransfer transfer = transfer(emulated.context());
                TensorArena arena = emulated.context().arena();
                Arena host = Arena.ofConfined()) {
            MemorySegment sent = random(host, 5 * BUFFER + 8);
            MemorySegment original = host.allocate(sent.byteSize()).copyFrom(sent);
            Tensor tensor = arena.vector(DType.U8, sent.byteSize());
            transfer.upload(sent, tensor);
            sent.fill((byte) 0);
            MemorySegment received = host.allocate(sent.byteSize());
            transfer.download(tensor, received);
            assertEquals(-1, original.mismatch(received), "seed " + SEED);
        }
    }

    @ParameterizedTest
    @CsvSource({"U8, 50, 60", "F16, 3, 7", "F64, 3, 300", "I32, 40, 100"})
    void a_view_is_copied_without_touching_what_lies_around_it(DType dtype, long rows, long columns) {
        try (EmulatedContext emulated = EmulatedContext.open();
                GpuTransfer transfer = transfer(emulated.context());
                TensorArena arena = emulated.context().arena();
                Arena host = Arena.ofConfined()) {
            Tensor whole = arena.matrix(dtype, rows + 2, columns + 9);
            MemorySegment margin = host.allocate(whole.memory().byteSize()).fill((byte) 0x5A);
            transfer.upload(margin, whole);
            Tensor view = whole.rows(1, rows).columns(4, columns);
            MemorySegment sent = random(host, rows * columns * dtype.bytes());
            transfer.upload(sent, view);

            MemorySegment expected = margin;
            long rowBytes = columns * dtype.bytes();
            for (long row = 0; row < rows; row++) {
                MemorySegment.copy(sent, row * rowBytes, expected,
                        ((row + 1) * whole.stride() + 4) * dtype.bytes(), rowBytes);
            }
            MemorySegment received = host.allocate(whole.memory().byteSize());
            transfer.download(whole, received);
            assertEquals(-1, expected.mismatch(received), "seed " + SEED);
            MemorySegment viewed = host.allocate(sent.byteSize());
            transfer.download(view, viewed);
            assertEquals(-1, sent.mismatch(viewed), "seed " + SEED);
        }
    }

    private static GpuTransfer transfer(GpuContext context) {
        return new GpuTransfer(context.driver(), context.stream(), context.memory(), BUFFER);
    }

    private static MemorySegment random(Arena host, long bytes) {
        SplittableRandom random = new SplittableRandom(SEED);
        MemorySegment segment = host.allocate(bytes, 8);
        for (long i = 0; i + 8 <= bytes; i += 8) {
            segment.set(ValueLayout.JAVA_LONG, i, random.nextLong());
        }
        return segment;
    }
}
