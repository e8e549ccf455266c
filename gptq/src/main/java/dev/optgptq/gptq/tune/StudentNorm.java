package dev.optgptq.gptq.tune;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.MemorySegment;

/** The weight or the bias of a norm while it is being learned: on the device, with what the optimizer remembers, [1, hidden] each. */
public final class StudentNorm {

    private final Device device;
    private final Tensor values;
    /** What the values are counted in. */
    private final Tensor unit;
    /** The best that were seen, in the dtype in which the model stores them. */
    private final Tensor best;
    private final Tensor gradient;
    private final Tensor first;
    private final Tensor second;

    /**
     * @param arena owns what it needs
     * @param stored as the model has it, any float dtype; only read, and not after synchronizing
     * @param weight of the same norm as the model has it: a weight is counted in shares of itself, and a bias, which may be 0
     *     everywhere, in shares of its channel's weight, as far as that channel swings
     */
    StudentNorm(Device device, TensorArena arena, Tensor stored, Tensor weight) {
        this.device = device;
        this.best = arena.matrix(stored.dtype(), stored.rows(), stored.columns());
        this.values = like(arena, stored);
        this.unit = like(arena, stored);
        this.gradient = like(arena, stored);
        this.first = like(arena, stored);
        this.second = like(arena, stored);
        device.matrix().copy(stored, best);
        device.neural().convert(stored, values);
        device.neural().convert(weight, unit);
        for (Tensor zero : new Tensor[] {gradient, first, second}) {
            device.matrix().fill(zero, 0);
        }
    }

    private static Tensor like(TensorArena arena, Tensor stored) {
        return arena.matrix(DType.F32, stored.rows(), stored.columns());
    }

    /** What one takes on the device at the most, in bytes. */
    public static long bytes(long hidden) {
        return hidden * (5 * Float.BYTES + Double.BYTES);
    }

    /**
     * Writes what the norm computes with.
     *
     * @param target F32 [1, hidden]
     * @param asStored whether it is rounded as the checkpoint would store it
     */
    void write(Tensor target, boolean asStored) {
        if (!asStored) {
            device.matrix().copy(values, target);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor narrow = scratch.matrix(best.dtype(), best.rows(), best.columns());
            device.neural().convert(values, narrow);
            device.neural().convert(narrow, target);
            device.synchronize();
        }
    }

    /** Adds what a pass back summed, F32 [1, hidden]. */
    void add(Tensor sums) {
        device.gradient().addRowsInto(sums, gradient);
    }

    /** Moves the values one step down their gradients, which then are 0 again. */
    void step(AdamStep step) {
        device.tuning().adam(step, gradient, first, second, unit, values);
        device.matrix().fill(gradient, 0);
    }

    /** Remembers the values as they are now. */
    void keep() {
        device.neural().convert(values, best);
    }

    long storedBytes() {
        return best.elements() * best.dtype().bytes();
    }

    /** The values that were kept last, at first those it began with, to the bit: in the stored dtype, dense. */
    void download(MemorySegment kept) {
        device.download(best, kept);
    }
}
