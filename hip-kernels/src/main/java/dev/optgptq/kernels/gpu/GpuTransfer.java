package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.driver.GpuDriver.RowCopy;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Copies between host and device through two page-locked buffers in turn: while the device copies one, the CPU fills or
 * empties the other, and the mapped pages of a file need not be locked. In the order of the stream.
 */
final class GpuTransfer implements AutoCloseable {

    /** Large enough for the full rate of the bus, small enough to cost nothing. */
    static final long BUFFER_BYTES = 16L << 20;

    private final GpuDriver driver;
    private final long stream;
    private final GpuMemory memory;
    private final long bufferBytes;
    private final List<Buffer> buffers = new ArrayList<>();
    /** Buffer of the next upload, so that small ones alternate too. */
    private int turn;

    /** @param copied event after the device's last use of the buffer */
    private record Buffer(MemorySegment memory, long copied) {}

    /** A range of a tensor whose rows fit a buffer: rows from, and columns from, with their counts. */
    private record Piece(long row, long rows, long column, long columns) {}

    GpuTransfer(GpuDriver driver, long stream, GpuMemory memory, long bufferBytes) {
        this.bufferBytes = bufferBytes;
        this.driver = driver;
        this.stream = stream;
        this.memory = memory;
    }

    /** Dense host bytes to a tensor. When it returns the bytes have been read, though the device may still copy. */
    void upload(MemorySegment source, Tensor target) {
        requireBytes(source, target);
        for (Piece piece : pieces(target)) {
            Buffer buffer = buffer(turn);
            turn = 1 - turn;
            driver.synchronizeEvent(buffer.copied);
            MemorySegment staged = buffer.memory.asSlice(0, bytes(piece, target));
            gather(source, target, piece, staged);
            copy(true, staged, target, piece);
            driver.record(buffer.copied, stream);
        }
    }

    /** A tensor to dense host bytes, which are there when it returns. */
    void download(Tensor source, MemorySegment target) {
        requireBytes(target, source);
        List<Piece> pieces = pieces(source);
        for (int i = 0; i <= pieces.size(); i++) {
            if (i < pieces.size()) {
                Buffer buffer = buffer(i);
                driver.synchronizeEvent(buffer.copied);
                copy(false, buffer.memory.asSlice(0, bytes(pieces.get(i), source)), source, pieces.get(i));
                driver.record(buffer.copied, stream);
            }
            if (i > 0) {
                Buffer previous = buffer(i - 1);
                driver.synchronizeEvent(previous.copied);
                scatter(previous.memory, source, pieces.get(i - 1), target);
            }
        }
    }

    private void copy(boolean toDevice, MemorySegment staged, Tensor tensor, Piece piece) {
        long size = tensor.dtype().bytes();
        long address = memory.address(tensor) + (piece.row * tensor.stride() + piece.column) * size;
        boolean dense = piece.rows == 1 || tensor.isDense();
        if (!dense) {
            driver.copyRows(new RowCopy(toDevice, staged, address, tensor.stride() * size, piece.columns * size,
                    piece.rows), stream);
        } else if (toDevice) {
            driver.copyToDevice(address, staged, stream);
        } else {
            driver.copyToHost(staged, address, stream);
        }
    }

    /** Whole rows as long as one fits a buffer, otherwise parts of one row. */
    private List<Piece> pieces(Tensor tensor) {
        List<Piece> pieces = new ArrayList<>();
        if (tensor.elements() == 0) {
            return pieces;
        }
        long room = bufferBytes / tensor.dtype().bytes();
        long columns = Math.min(room, tensor.columns());
        long rows = columns < tensor.columns() ? 1 : room / columns;
        for (long row = 0; row < tensor.rows(); row += rows) {
            for (long column = 0; column < tensor.columns(); column += columns) {
                pieces.add(new Piece(row, Math.min(rows, tensor.rows() - row), column,
                        Math.min(columns, tensor.columns() - column)));
            }
        }
        return pieces;
    }

    private static long bytes(Piece piece, Tensor tensor) {
        return piece.rows * piece.columns * tensor.dtype().bytes();
    }

    /** A piece is contiguous in the dense host bytes: it is whole rows, or part of one. */
    private static long hostOffset(Tensor tensor, Piece piece) {
        return (piece.row * tensor.columns() + piece.column) * tensor.dtype().bytes();
    }

    private static void gather(MemorySegment host, Tensor tensor, Piece piece, MemorySegment staged) {
        MemorySegment.copy(host, hostOffset(tensor, piece), staged, 0, staged.byteSize());
    }

    private static void scatter(MemorySegment staged, Tensor tensor, Piece piece, MemorySegment host) {
        MemorySegment.copy(staged, 0, host, hostOffset(tensor, piece), bytes(piece, tensor));
    }

    private Buffer buffer(int number) {
        int index = number % 2;
        while (buffers.size() <= index) {
            buffers.add(new Buffer(driver.allocatePinned(bufferBytes), driver.createEvent(false)));
        }
        return buffers.get(index);
    }

    private static void requireBytes(MemorySegment host, Tensor tensor) {
        long needed = tensor.bytes();
        if (host.byteSize() != needed) {
            throw new IllegalArgumentException(
                    tensor + " has " + needed + " bytes, the host memory given " + host.byteSize());
        }
    }

    @Override
    public void close() {
        List<Runnable> steps = new ArrayList<>();
        for (Buffer buffer : buffers) {
            steps.add(() -> driver.destroyEvent(buffer.copied));
            steps.add(() -> driver.freePinned(buffer.memory));
        }
        buffers.clear();
        Closing.all(steps);
    }
}
