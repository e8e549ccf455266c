package dev.optgptq.calibrate.capture;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/**
 * The residual stream of the calibration sequences between blocks, F32 [rows, hidden]: on the device where it fits there,
 * else in host memory, else in a mapped temporary file.
 */
public final class ActivationStore implements AutoCloseable {

    private final long rows;
    private final int hidden;
    private final Place place;

    private sealed interface Place {
        void close();

        record OnHost(HostBuffer buffer) implements Place {
            @Override
            public void close() {
                buffer.close();
            }
        }

        /** @param stream F32 [rows, hidden] */
        record OnDevice(TensorArena arena, Tensor stream) implements Place {
            @Override
            public void close() {
                arena.close();
            }
        }
    }

    /**
     * On the host.
     *
     * @param memoryLimit bytes above which a mapped temporary file is used
     */
    public ActivationStore(long rows, int hidden, long memoryLimit) {
        this(rows, hidden, new Place.OnHost(new HostBuffer(bytes(rows, hidden), memoryLimit)));
    }

    private ActivationStore(long rows, int hidden, Place place) {
        this.rows = rows;
        this.hidden = hidden;
        this.place = place;
    }

    /** On the device; UserError MEMORY where it does not fit. */
    public static ActivationStore onDevice(Device device, long rows, int hidden) {
        TensorArena arena = device.arena();
        try {
            return new ActivationStore(rows, hidden,
                    new Place.OnDevice(arena, arena.matrix(DType.F32, rows, hidden)));
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    private static long bytes(long rows, int hidden) {
        return Math.multiplyExact(rows, hidden * (long) Float.BYTES);
    }

    public long rows() {
        return rows;
    }

    public long bytes() {
        return bytes(rows, hidden);
    }

    /** Whether it lies in a temporary file. */
    public boolean spilled() {
        return switch (place) {
            case Place.OnHost host -> host.buffer.spilled();
            case Place.OnDevice onDevice -> false;
        };
    }

    /** Copies rows [first, first + x.rows()) to a device tensor, F32 [n, hidden], which may then be overwritten. */
    public void read(Device device, long first, Tensor x) {
        requireRange(first, x.rows(), x.columns());
        switch (place) {
            case Place.OnHost host -> device.upload(slice(host, first, x.rows()), x);
            case Place.OnDevice onDevice -> device.matrix().copy(onDevice.stream.rows(first, x.rows()), x);
        }
    }

    /** Copies a device tensor, F32 [n, hidden], to rows [first, first + x.rows()). */
    public void write(Device device, long first, Tensor x) {
        requireRange(first, x.rows(), x.columns());
        switch (place) {
            case Place.OnHost host -> device.download(x, slice(host, first, x.rows()));
            case Place.OnDevice onDevice -> device.matrix().copy(x, onDevice.stream.rows(first, x.rows()));
        }
    }

    /**
     * Replaces rows [first, first + n): in place where they lie on the device, otherwise through the buffer.
     *
     * @param buffer F32 [n, hidden] on the device
     * @param op overwrites the rows it is given, F32 [n, hidden]
     */
    public void update(Device device, long first, Tensor buffer, Consumer<Tensor> op) {
        requireRange(first, buffer.rows(), buffer.columns());
        switch (place) {
            case Place.OnHost host -> {
                read(device, first, buffer);
                op.accept(buffer);
                write(device, first, buffer);
            }
            case Place.OnDevice onDevice -> op.accept(onDevice.stream.rows(first, buffer.rows()));
        }
    }

    private MemorySegment slice(Place.OnHost host, long first, long count) {
        long rowBytes = hidden * (long) Float.BYTES;
        return host.buffer.memory().asSlice(first * rowBytes, count * rowBytes);
    }

    private void requireRange(long first, long count, long columns) {
        if (columns != hidden || first < 0 || first > rows - count) {
            throw new IllegalArgumentException("[" + count + ", " + columns + "] at row " + first
                    + " does not fit into [" + rows + ", " + hidden + "]");
        }
    }

    @Override
    public void close() {
        place.close();
    }
}
