package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.LinearSolution;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.gptq.solve.StoredScales;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import dev.optgptq.kernels.ops.TuningOps.LatentGrid;
import java.util.Objects;

/**
 * A linear whose codes and scales are learned (docs/algorithms.md, section 8): a latent weight in steps of the scale,
 * which rounds to the code, and one scale per group. It starts at a solution's codes; the latents are the weights
 * before rounding.
 */
public final class LatentLinear {

    private final Device device;
    private final LinearSpec linear;
    private final Grid grid;
    private final LatentGrid latentGrid;
    private final Tensor latent;
    /** Units of the scales: they are learned relative to their initial values. */
    private final Tensor unit;
    private final Moments ofLatent;
    private final Moments ofScales;
    private final Tensor dScales;

    private record Moments(Tensor first, Tensor second) {
        static Moments zero(Device device, TensorArena arena, Tensor like) {
            Moments moments = new Moments(arena.matrix(DType.F32, like.rows(), like.columns()),
                    arena.matrix(DType.F32, like.rows(), like.columns()));
            device.matrix().fill(moments.first, 0);
            device.matrix().fill(moments.second, 0);
            return moments;
        }
    }

    /**
     * @param arena owns what it needs
     * @param solution with the weights before rounding
     */
    LatentLinear(Device device, TensorArena arena, Grid grid, LinearSpec linear, LinearSolution solution) {
        this.device = device;
        this.linear = linear;
        this.grid = grid;
        QuantizedWeight weight = solution.weight();
        Tensor scales = arena.matrix(DType.F32, weight.scales().rows(), weight.scales().columns());
        device.matrix().copy(weight.scales(), scales);
        this.unit = weight.scales();
        this.latentGrid = new LatentGrid(grid.maxCode(), scales, weight.zeros(), weight.groupOf());
        this.latent = arena.matrix(DType.F32, linear.inputs(), linear.outputs());
        device.tuning().latent(latentGrid, Objects.requireNonNull(solution.rounded()), weight.codes(), latent);
        this.ofLatent = Moments.zero(device, arena, latent);
        this.ofScales = Moments.zero(device, arena, scales);
        this.dScales = arena.matrix(DType.F32, scales.rows(), scales.columns());
    }

    /** Bytes of a LatentLinear on the device, with the temporaries of step and round. */
    public static long bytes(LinearSpec linear, long groups) {
        return Float.BYTES * (4L * linear.inputs() * linear.outputs() + 4 * groups * linear.outputs());
    }

    /** Writes the current weight: F32 [outputs, inputs]. */
    void round(Tensor weight) {
        try (TensorArena scratch = device.arena()) {
            Tensor wt = scratch.matrix(DType.F32, linear.inputs(), linear.outputs());
            device.tuning().roundLatent(latentGrid, latent, wt);
            device.matrix().transpose(wt, weight);
        }
    }

    /**
     * One step down the gradient.
     *
     * @param dWeight F32 [outputs, inputs]
     */
    void step(Tensor dWeight, AdamStep latentStep, AdamStep scaleStep) {
        try (TensorArena scratch = device.arena()) {
            Tensor d = scratch.matrix(DType.F32, linear.inputs(), linear.outputs());
            device.matrix().transpose(dWeight, d);
            device.matrix().fill(dScales, 0);
            device.tuning().latentGradient(latentGrid, latent, d, dScales);
            device.tuning().adam(latentStep, d, ofLatent.first, ofLatent.second, null, latent);
            device.tuning().adam(scaleStep, dScales, ofScales.first, ofScales.second, unit, latentGrid.scales());
        }
    }

    private Tensor copy(TensorArena arena, Tensor tensor) {
        Tensor copy = arena.matrix(tensor.dtype(), tensor.rows(), tensor.columns());
        device.matrix().copy(tensor, copy);
        return copy;
    }

    /**
     * The learned codes and scales, scales as the format stores them; the weight is overwritten with the dequantized
     * one.
     *
     * @param arena owns the result
     * @param weight F32 [outputs, inputs]
     */
    QuantizedWeight finish(TensorArena arena, Tensor weight) {
        Tensor codes = arena.matrix(DType.U8, linear.inputs(), linear.outputs());
        device.tuning().latentCodes(latentGrid, latent, codes);
        Tensor scales = arena.matrix(DType.F32, latentGrid.scales().rows(), latentGrid.scales().columns());
        StoredScales.round(device, grid.scaleType(), latentGrid.scales(), scales);
        QuantizedWeight learned = new QuantizedWeight(codes, scales, copy(arena, latentGrid.zeros()),
                copy(arena, latentGrid.groupOf()));
        try (TensorArena scratch = device.arena()) {
            Tensor wt = scratch.matrix(DType.F32, linear.inputs(), linear.outputs());
            device.quant().dequantize(codes, scales, learned.zeros(), learned.groupOf(), wt);
            device.matrix().transpose(wt, weight);
        }
        return learned;
    }
}
