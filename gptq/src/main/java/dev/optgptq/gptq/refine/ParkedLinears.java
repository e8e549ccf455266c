package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.HostBuffer;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * The solved linears of a block's experts on the host, or in a temporary file: codes of all of them are as large as the stored
 * weights. A device has those of one linear while it computes with them.
 */
public final class ParkedLinears implements AutoCloseable {

    private static final long ALIGNMENT = 64;

    private final Device device;
    private final HostBuffer buffer;
    private final Map<LinearSpec, Parked> parked = new HashMap<>();
    private long used;

    /** The integers of one linear. */
    private record Stored(MemorySegment codes, MemorySegment scales, MemorySegment zeros, MemorySegment groupOf) {}

    /** @param figures the linear without its integers, which are no longer on the device */
    private record Parked(SolvedLinear figures, Stored integers) {}

    /** @param memoryBytes above which a temporary file is used */
    ParkedLinears(Device device, BlockSpec block, ModuleGrids grids, long memoryBytes) {
        this.device = device;
        this.buffer = new HostBuffer(bytes(block, grids), memoryBytes);
    }

    /** Bytes on the host, or in the file. */
    public static long bytes(BlockSpec block, ModuleGrids grids) {
        return experts(block, grids).mapToLong(linear -> bytes(linear, grids.of(linear))).sum();
    }

    /** Device memory of the integers of the largest of an expert's linears. */
    public static long largest(BlockSpec block, ModuleGrids grids) {
        return experts(block, grids).mapToLong(linear -> bytes(linear, grids.of(linear))).max().orElse(0);
    }

    private static Stream<LinearSpec> experts(BlockSpec block, ModuleGrids grids) {
        return grids.quantized(block.linears()).stream().filter(linear -> linear.site().ofExpert());
    }

    private static long bytes(LinearSpec linear, PackedGrid grid) {
        int groups = grid.groupSize() == QuantizationConfig.ONE_GROUP
                ? 1
                : Math.ceilDiv(linear.inputs(), grid.groupSize());
        long ofGroups = aligned((long) Float.BYTES * groups * linear.outputs());
        return aligned((long) linear.inputs() * linear.outputs()) + 2 * ofGroups
                + aligned((long) Integer.BYTES * linear.inputs());
    }

    private static long aligned(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** Copies its integers here. */
    void park(SolvedLinear solved) {
        QuantizedWeight weight = solved.solution().weight();
        parked.put(solved.linear(), new Parked(solved, new Stored(copied(weight.codes()), copied(weight.scales()),
                copied(weight.zeros()), copied(weight.groupOf()))));
    }

    private MemorySegment copied(Tensor tensor) {
        MemorySegment here = buffer.memory().asSlice(used, tensor.bytes());
        device.download(tensor, here);
        used += aligned(tensor.bytes());
        return here;
    }

    boolean has(LinearSpec linear) {
        return parked.containsKey(linear);
    }

    /** Lends a linear whose integers are on the device during the call. */
    void lend(LinearSpec linear, Consumer<SolvedLinear> use) {
        try (TensorArena arena = device.arena()) {
            use.accept(of(linear).figures().with(load(linear, arena)));
            device.synchronize();
        }
    }

    /**
     * The solver's weight to the bit.
     *
     * @param on where it is wanted
     * @param weight F32 [out, in] there, written
     */
    void dequantize(LinearSpec linear, Device on, Tensor weight) {
        try (TensorArena scratch = on.arena()) {
            load(linear, scratch).dequantize(on, on, weight);
        }
    }

    private QuantizedWeight load(LinearSpec linear, TensorArena arena) {
        Stored its = of(linear).integers();
        int outputs = linear.outputs();
        long groups = its.scales().byteSize() / Float.BYTES / outputs;
        return new QuantizedWeight(arena.load(its.codes(), DType.U8, linear.inputs(), outputs),
                arena.load(its.scales(), DType.F32, groups, outputs),
                arena.load(its.zeros(), DType.I32, groups, outputs),
                arena.load(its.groupOf(), DType.I32, 1, linear.inputs()));
    }

    private Parked of(LinearSpec linear) {
        return Objects.requireNonNull(parked.get(linear), () -> linear.module() + " is not parked");
    }

    @Override
    public void close() {
        buffer.close();
    }
}
