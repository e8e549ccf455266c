package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.HostBuffer;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * The codes, scales, zeros and g_idx of one block off the device: in host memory, or in a temporary file where they are too
 * large for it.
 */
final class BlockArchive implements AutoCloseable {

    /** Tensors begin at multiples of this many bytes. */
    private static final long ALIGNMENT = 64;

    private final Device device;
    private final HostBuffer buffer;
    private final List<Entry> entries = new ArrayList<>();

    /** Where a linear's tensors lie. */
    private record Entry(LinearSpec linear, Place codes, Place scales, Place zeros, Place groupOf) {}

    /** A tensor in the buffer. */
    private record Place(long offset, DType dtype, long rows, long columns) {
        long bytes() {
            return rows * columns * dtype.bytes();
        }
    }

    /** @param memoryLimit bytes above which a temporary file is used */
    BlockArchive(Device device, List<RefinedLinear> linears, long memoryLimit) {
        this.device = device;
        long at = 0;
        for (RefinedLinear linear : linears) {
            QuantizedWeight weight = linear.solution().weight();
            Place codes = place(at, weight.codes());
            Place scales = place(end(codes), weight.scales());
            Place zeros = place(end(scales), weight.zeros());
            Place groupOf = place(end(zeros), weight.groupOf());
            entries.add(new Entry(linear.linear(), codes, scales, zeros, groupOf));
            at = end(groupOf);
        }
        buffer = new HostBuffer(at, memoryLimit);
        for (int i = 0; i < entries.size(); i++) {
            QuantizedWeight weight = linears.get(i).solution().weight();
            Entry entry = entries.get(i);
            device.download(weight.codes(), memory(entry.codes));
            device.download(weight.scales(), memory(entry.scales));
            device.download(weight.zeros(), memory(entry.zeros));
            device.download(weight.groupOf(), memory(entry.groupOf));
        }
    }

    private static Place place(long offset, Tensor tensor) {
        return new Place(offset, tensor.dtype(), tensor.rows(), tensor.columns());
    }

    private static long end(Place place) {
        return Math.ceilDiv(place.offset + place.bytes(), ALIGNMENT) * ALIGNMENT;
    }

    private MemorySegment memory(Place place) {
        return buffer.memory().asSlice(place.offset, place.bytes());
    }

    List<LinearSpec> linears() {
        return entries.stream().map(Entry::linear).toList();
    }

    /** A linear's tensors on the device again, owned by the arena. */
    QuantizedWeight load(int linear, TensorArena arena) {
        Entry entry = entries.get(linear);
        return new QuantizedWeight(upload(entry.codes, arena), upload(entry.scales, arena), upload(entry.zeros, arena),
                upload(entry.groupOf, arena));
    }

    private Tensor upload(Place place, TensorArena arena) {
        Tensor tensor = arena.matrix(place.dtype, place.rows, place.columns);
        device.upload(memory(place), tensor);
        return tensor;
    }

    @Override
    public void close() {
        buffer.close();
    }
}
