package dev.optgptq.gptq.tune;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.Packing;
import dev.optgptq.gptq.solve.StoredScales;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import dev.optgptq.kernels.ops.TuningOps.LatentGrid;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A quantized linear whose scales are learned. The codes stay packed, off the device; on it are the scales and their
 * optimizer state, each [G, out].
 */
public final class StudentLinear {

    private final Device device;
    private final PackedLinear packed;
    private final Tensor zeros;
    private final Tensor packedZeros;
    private final Tensor groupOf;
    /** F16, all 1: with them a dequantized weight is code - zero. */
    private final Tensor ones;
    private final Tensor scales;
    /** Units of the scales: their initial values. */
    private final Tensor unit;
    /** The best scales so far, F16 as the format stores them. */
    private final Tensor best;
    private final Tensor gradient;
    private final Tensor first;
    private final Tensor second;

    /** @param arena owns what it needs */
    StudentLinear(Device device, TensorArena arena, PackedLinear packed) {
        this.device = device;
        this.packed = packed;
        long groups = packed.groups();
        long outputs = packed.outputs();
        this.scales = arena.matrix(DType.F32, groups, outputs);
        this.unit = arena.matrix(DType.F32, groups, outputs);
        this.gradient = arena.matrix(DType.F32, groups, outputs);
        this.first = arena.matrix(DType.F32, groups, outputs);
        this.second = arena.matrix(DType.F32, groups, outputs);
        this.best = arena.matrix(DType.F16, groups, outputs);
        this.ones = arena.matrix(DType.F16, groups, outputs);
        this.zeros = arena.matrix(DType.I32, groups, outputs);
        this.packedZeros = arena.matrix(DType.I32, groups, outputs * packed.bits() / 32);
        this.groupOf = arena.matrix(DType.I32, 1, packed.inputs());
        try (Arena host = Arena.ofShared()) {
            MemorySegment unpacked = host.allocate(Integer.BYTES * groups * outputs, Integer.BYTES);
            Packing.unpackZeros(packed.qzeros(), packed.bits(), packed.groups(), packed.outputs(), packed.zeroOffset(),
                    unpacked);
            device.upload(unpacked, zeros);
            device.upload(packed.scales(), best);
            device.upload(packed.qzeros(), packedZeros);
            device.upload(packed.gIdx(), groupOf);
            device.neural().convert(best, scales);
            device.neural().convert(best, unit);
            for (Tensor zero : new Tensor[] {gradient, first, second}) {
                device.matrix().fill(zero, 0);
            }
            // Any F32 tensor that holds 1; the moments are 0 again afterwards.
            device.matrix().fill(first, 1);
            device.neural().convert(first, ones);
            device.matrix().fill(first, 0);
            device.synchronize();
        }
    }

    /** Device memory of one linear, in bytes. */
    public static long bytes(long inputs, long outputs, long groups) {
        return groups * outputs * (5 * Float.BYTES + 2 * 2 + Integer.BYTES) + groups * outputs + Integer.BYTES * inputs;
    }

    private LatentGrid grid(Tensor withScales) {
        return new LatentGrid((1 << packed.bits()) - 1, withScales, zeros, groupOf);
    }

    /** code - zero of every weight, F32 [in, out], its own latent. */
    private Tensor steps(TensorArena scratch) {
        Tensor words = scratch.matrix(DType.I32, (long) packed.inputs() * packed.bits() / 32, packed.outputs());
        device.upload(packed.qweight(), words);
        Tensor steps = scratch.matrix(DType.F32, packed.inputs(), packed.outputs());
        device.quant().dequantizePacked(packed.bits(), packed.zeroOffset(), words, packedZeros, ones, groupOf, steps);
        return steps;
    }

    /**
     * Writes the current weight.
     *
     * @param weight F32 [out, in]
     * @param stored whether to round scales as the format stores them
     */
    void write(Tensor weight, boolean stored) {
        try (TensorArena scratch = device.arena()) {
            Tensor steps = steps(scratch);
            Tensor used = scales;
            if (stored) {
                used = scratch.matrix(DType.F32, scales.rows(), scales.columns());
                StoredScales.round(device, DType.F16, scales, used);
            }
            Tensor wt = scratch.matrix(DType.F32, packed.inputs(), packed.outputs());
            device.tuning().roundLatent(grid(used), steps, wt);
            device.matrix().transpose(wt, weight);
            device.synchronize();
        }
    }

    /** Adds the weights' gradients to the scales' gradients: dScale = sum over the group of dW (code - zero). */
    void add(Tensor dWeight) {
        try (TensorArena scratch = device.arena()) {
            Tensor d = scratch.matrix(DType.F32, packed.inputs(), packed.outputs());
            device.matrix().transpose(dWeight, d);
            device.tuning().latentGradient(grid(scales), steps(scratch), d, gradient);
            device.synchronize();
        }
    }

    /** Takes one optimizer step, and clears the gradients. */
    void step(AdamStep step) {
        device.tuning().adam(step, gradient, first, second, unit, scales);
        device.matrix().fill(gradient, 0);
    }

    /** Keeps the current scales. */
    void keep() {
        device.neural().convert(scales, best);
    }

    /** Restores the kept scales, and clears the optimizer state. */
    void revert() {
        device.neural().convert(best, scales);
        for (Tensor zero : new Tensor[] {gradient, first, second}) {
            device.matrix().fill(zero, 0);
        }
    }

    /** The scales kept last, at first the initial ones: F16 [G, out], dense. */
    void download(MemorySegment kept) {
        device.download(best, kept);
    }
}
