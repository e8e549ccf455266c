package dev.optgptq.gptq.tune;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A parameter being learned: on the device, with its optimizer state. AdamW (Loshchilov and
 * Hutter, arXiv 1711.05101): the decay is not part of the gradient.
 */
public final class LearnedTensor {

    private final Device device;
    private final Tensor values;
    /** What computes, the values rounded to the matmul dtype; null where they compute themselves. */
    private final @Nullable Tensor factor;
    /** Units of the values; null for 1. */
    private final @Nullable Tensor unit;
    /** The best values so far, in the model's stored dtype. */
    private final Tensor best;
    private final Tensor gradient;
    private final Tensor first;
    private final Tensor second;

    /**
     * @param values F32, learned in place
     * @param arena owns the rest
     */
    private LearnedTensor(Device device, TensorArena arena, Tensor values, @Nullable Tensor factor, DType stored,
            @Nullable Tensor unit) {
        this.device = device;
        this.values = values;
        this.factor = factor;
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
     * @param stored the model's tensor, any float dtype; only read, and not after synchronizing
     * @param weight of the same norm in the model: a weight is learned relative to itself, and a bias, which may be all
     *     0, relative to its channel's weight, the scale of that channel
     */
    static LearnedTensor ofNorm(Device device, TensorArena arena, Tensor stored, Tensor weight) {
        Tensor values = like(arena, stored);
        Tensor unit = like(arena, stored);
        device.neural().convert(stored, values);
        device.neural().convert(weight, unit);
        LearnedTensor learned = new LearnedTensor(device, arena, values, null, stored.dtype(), unit);
        device.matrix().copy(stored, learned.best);
        return learned;
    }

    /**
     * Learns values in place.
     *
     * @param arena owns the optimizer state
     * @param values F32, which hold values of the stored dtype
     */
    static LearnedTensor inPlace(Device device, TensorArena arena, Tensor values, DType stored) {
        LearnedTensor learned = new LearnedTensor(device, arena, values, null, stored, null);
        learned.keep();
        return learned;
    }

    /**
     * Learns values in place that are rounded after every step to what computes in half precision (Micikevicius et al. 2018,
     * arXiv 1710.03740).
     *
     * @param arena owns the optimizer state
     * @param values F32, which hold values of the stored dtype
     * @param factor F16 or BF16, holds these values rounded
     */
    static LearnedTensor inPlace(Device device, TensorArena arena, Tensor values, Tensor factor, DType stored) {
        LearnedTensor learned = new LearnedTensor(device, arena, values, factor, stored, null);
        learned.keep();
        return learned;
    }

    private static Tensor like(TensorArena arena, Tensor stored) {
        return arena.matrix(DType.F32, stored.rows(), stored.columns());
    }

    /** Maximum device memory of a norm's parameter, in bytes. */
    public static long bytes(long hidden) {
        return hidden * (5 * Float.BYTES + Double.BYTES);
    }

    /** The optimizer state, beside the values: F32, to be saved and restored. */
    Tensor first() {
        return first;
    }

    Tensor second() {
        return second;
    }

    /** The current values, F32. */
    Tensor values() {
        return values;
    }

    /** In the stored dtype. */
    Tensor best() {
        return best;
    }

    /** The summed gradients, F32. */
    Tensor gradient() {
        return gradient;
    }

    /**
     * Writes the current values.
     *
     * @param target F32, of the same shape
     * @param asStored whether to round them as stored in the checkpoint
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

    /** Adds the sums of a backward pass. */
    void add(Tensor sums) {
        device.neural().add(gradient, sums);
    }

    /** Multiplies the gradients. */
    void scaleGradient(float factor) {
        device.neural().scale(gradient, factor);
    }

    /** Takes one optimizer step, and clears the gradients. */
    void step(AdamStep step) {
        device.tuning().adam(step, gradient, first, second, unit, values);
        device.matrix().fill(gradient, 0);
        changed();
    }

    /** The values are others now: what computes follows them. */
    void changed() {
        if (factor != null) {
            device.neural().convert(values, factor);
        }
    }

    /** Applies AdamW's weight decay, before its step. */
    void decay(float share) {
        if (share > 0) {
            device.neural().scale(values, 1 - share);
        }
    }

    /** Keeps the current values. */
    void keep() {
        device.neural().convert(values, best);
    }

    /** Restores the kept values, and clears the optimizer state. */
    void revert() {
        device.neural().convert(best, values);
        for (Tensor zero : new Tensor[] {gradient, first, second}) {
            device.matrix().fill(zero, 0);
        }
        changed();
    }

    long storedBytes() {
        return best.elements() * best.dtype().bytes();
    }

    /** The values kept last, at first the initial ones, to the bit: in the stored dtype, dense. */
    void download(MemorySegment kept) {
        device.download(best, kept);
    }
}
