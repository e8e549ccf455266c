package dev.optgptq.gptq.tune;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A parameter while it is being learned: on the device, with what the optimizer remembers of it. AdamW (Loshchilov and
 * Hutter, arXiv 1711.05101): the decay is not part of the gradient.
 */
public final class LearnedTensor {

    private final Device device;
    private final Tensor values;
    /** What the values are counted in; null for 1. */
    private final @Nullable Tensor unit;
    /** The best that were seen, in the dtype in which the model stores them. */
    private final Tensor best;
    private final Tensor gradient;
    private final Tensor first;
    private final Tensor second;

    /**
     * @param values F32, learned in place
     * @param arena owns the rest
     */
    private LearnedTensor(Device device, TensorArena arena, Tensor values, DType stored, @Nullable Tensor unit) {
        this.device = device;
        this.values = values;
        this.unit = unit;
        this.best = arena.matrix(stored, values.rows(), values.columns());
        this.gradient = like(arena, values);
        this.first = like(arena, values);
        this.second = like(arena, values);
        for (Tensor zero : new Tensor[] {gradient, first, second}) {
            device.matrix().fill(zero, 0);
        }
    }

    /**
     * A copy of a norm's weight or bias.
     *
     * @param arena owns what it needs
     * @param stored as the model has it, any float dtype; only read, and not after synchronizing
     * @param weight of the same norm as the model has it: a weight is counted in shares of itself, and a bias, which may be 0
     *     everywhere, in shares of its channel's weight, as far as that channel swings
     */
    static LearnedTensor ofNorm(Device device, TensorArena arena, Tensor stored, Tensor weight) {
        Tensor values = like(arena, stored);
        Tensor unit = like(arena, stored);
        device.neural().convert(stored, values);
        device.neural().convert(weight, unit);
        LearnedTensor learned = new LearnedTensor(device, arena, values, stored.dtype(), unit);
        device.matrix().copy(stored, learned.best);
        return learned;
    }

    /**
     * Learned where it lies.
     *
     * @param arena owns what is beside it
     * @param values F32, which hold what is stored in that dtype
     */
    static LearnedTensor inPlace(Device device, TensorArena arena, Tensor values, DType stored) {
        LearnedTensor learned = new LearnedTensor(device, arena, values, stored, null);
        learned.keep();
        return learned;
    }

    private static Tensor like(TensorArena arena, Tensor stored) {
        return arena.matrix(DType.F32, stored.rows(), stored.columns());
    }

    /** What a norm's takes on the device at the most, in bytes. */
    public static long bytes(long hidden) {
        return hidden * (5 * Float.BYTES + Double.BYTES);
    }

    /** What the optimizer remembers, beside the values: F32, to be saved and restored. */
    Tensor first() {
        return first;
    }

    Tensor second() {
        return second;
    }

    /** F32; what is computed with. */
    Tensor values() {
        return values;
    }

    /** In the stored dtype. */
    Tensor best() {
        return best;
    }

    /** F32: where gradients are summed. */
    Tensor gradient() {
        return gradient;
    }

    /**
     * Writes what is computed with.
     *
     * @param target F32, of the same shape
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

    /** Adds what a pass back summed. */
    void add(Tensor sums) {
        device.neural().add(gradient, sums);
    }

    /** Multiplies the gradients. */
    void scaleGradient(float factor) {
        device.neural().scale(gradient, factor);
    }

    /** Moves the values one step down their gradients, which then are 0 again. */
    void step(AdamStep step) {
        device.tuning().adam(step, gradient, first, second, unit, values);
        device.matrix().fill(gradient, 0);
    }

    /** Shrinks the values, as AdamW does before its step. */
    void decay(float share) {
        if (share > 0) {
            device.neural().scale(values, 1 - share);
        }
    }

    /** Remembers the values as they are now. */
    void keep() {
        device.neural().convert(values, best);
    }

    /** Goes back to what was kept, with no memory of what led away from it. */
    void revert() {
        device.neural().convert(best, values);
        for (Tensor zero : new Tensor[] {gradient, first, second}) {
            device.matrix().fill(zero, 0);
        }
    }

    long storedBytes() {
        return best.elements() * best.dtype().bytes();
    }

    /** The values that were kept last, at first those it began with, to the bit: in the stored dtype, dense. */
    void download(MemorySegment kept) {
        device.download(best, kept);
    }
}
