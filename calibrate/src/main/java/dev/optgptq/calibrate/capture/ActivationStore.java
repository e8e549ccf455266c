package dev.optgptq.calibrate.capture;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * The residual stream of the calibration sequences between blocks, F32 [rows, hidden]: on the device or devices if it
 * fits there, else in host memory, else in a mapped temporary file.
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

        /** @param segments by row */
        record OnDevices(List<Segment> segments) implements Place {
            @Override
            public void close() {
                segments.forEach(segment -> segment.arena.close());
            }
        }
    }

    /**
     * Neighbouring rows on one device.
     *
     * @param first row
     * @param stream F32 [rows of the segment, hidden]
     */
    private record Segment(Device device, long first, TensorArena arena, Tensor stream) {

        private long end() {
            return first + stream.rows();
        }

        /** The intersection with the rows [from, to). */
        private Tensor rows(long from, long to) {
            return stream.rows(from - first, to - from);
        }
    }

    /**
     * The rows of one device.
     *
     * @param first of all rows
     * @param rows count
     */
    record Share(Device device, long first, long rows) {}

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
        return onDevices(List.of(new Share(device, 0, rows)), rows, hidden);
    }

    /**
     * On several devices, each with the rows that it runs: those of other processes' devices are not here. UserError MEMORY
     * where they do not fit.
     */
    public static ActivationStore onDevices(List<Device> devices, Partition partition, int hidden) {
        return onDevices(partition.shares(devices), partition.rows(), hidden);
    }

    static ActivationStore onDevices(List<Share> shares, long rows, int hidden) {
        List<Segment> segments = new ArrayList<>();
        Place place = new Place.OnDevices(segments);
        try {
            for (Share share : shares) {
                segments.add(segment(share, hidden));
            }
        } catch (RuntimeException e) {
            place.close();
            throw e;
        }
        return new ActivationStore(rows, hidden, place);
    }

    private static Segment segment(Share share, int hidden) {
        TensorArena arena = share.device.arena();
        try {
            return new Segment(share.device, share.first, arena, arena.matrix(DType.F32, share.rows, hidden));
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

    /** Whether it is in a temporary file. */
    public boolean spilled() {
        return switch (place) {
            case Place.OnHost host -> host.buffer.spilled();
            case Place.OnDevices onDevices -> false;
        };
    }

    /** Copies rows [first, first + x.rows()) to a device tensor, F32 [n, hidden], which may then be overwritten. */
    public void read(Device device, long first, Tensor x) {
        requireRange(first, x.rows(), x.columns());
        switch (place) {
            case Place.OnHost host -> device.upload(slice(host, first, x.rows()), x);
            case Place.OnDevices on -> eachSegment(on, first, x.rows(), (segment, from, to) -> move(segment.device,
                    segment.rows(from, to), device, x.rows(from - first, to - from)));
        }
    }

    /** Copies a device tensor, F32 [n, hidden], to rows [first, first + x.rows()). */
    public void write(Device device, long first, Tensor x) {
        requireRange(first, x.rows(), x.columns());
        switch (place) {
            case Place.OnHost host -> device.download(x, slice(host, first, x.rows()));
            case Place.OnDevices on -> eachSegment(on, first, x.rows(), (segment, from, to) -> move(device,
                    x.rows(from - first, to - from), segment.device, segment.rows(from, to)));
        }
    }

    /**
     * Replaces rows [first, first + n): in place if they are all on the device, otherwise through the buffer.
     *
     * @param buffer F32 [n, hidden] on the device
     * @param op overwrites the rows it is given, F32 [n, hidden]
     */
    public void update(Device device, long first, Tensor buffer, Consumer<Tensor> op) {
        requireRange(first, buffer.rows(), buffer.columns());
        switch (place) {
            case Place.OnHost host -> throughBuffer(device, first, buffer, op);
            case Place.OnDevices on -> {
                for (Segment segment : on.segments) {
                    if (segment.device.equals(device) && first >= segment.first
                            && first + buffer.rows() <= segment.end()) {
                        op.accept(segment.rows(first, first + buffer.rows()));
                        return;
                    }
                }
                throughBuffer(device, first, buffer, op);
            }
        }
    }

    private void throughBuffer(Device device, long first, Tensor buffer, Consumer<Tensor> op) {
        read(device, first, buffer);
        op.accept(buffer);
        write(device, first, buffer);
    }

    private interface Visit {
        void rows(Segment segment, long from, long to);
    }

    /** Splits a range of rows at the boundaries between devices. */
    private static void eachSegment(Place.OnDevices on, long first, long count, Visit visit) {
        for (Segment segment : on.segments) {
            long from = Math.max(first, segment.first);
            long to = Math.min(first + count, segment.end());
            if (from < to) {
                visit.rows(segment, from, to);
            }
        }
    }

    private static void move(Device from, Tensor source, Device to, Tensor target) {
        if (from.equals(to)) {
            to.matrix().copy(source, target);
        } else {
            from.synchronize();
            to.receive(from, source, target);
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
