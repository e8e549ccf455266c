package dev.optgptq.gptq.solve;

import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Quantizes the linears that share one input. The Hessian is factorised once for all of them, so they also share order
 * and g_idx, which runtimes that fuse them require.
 */
public final class SiteSolver implements AutoCloseable {

    /** Diagonals, orders and groups of a site and its linears: each of 4 bytes per input. */
    private static final long VECTORS = 16 * 4;

    private final Device device;
    private final Calibrator calibrator;
    private final TensorArena arena;
    private final @Nullable InverseFactor factor;

    /**
     * @param hessian F32 [n, n], both triangles; the diagonal of dead inputs is mended in place; null when the
     *     calibrator needs none
     * @param what names the site in errors: "model.layers.3 MLP input"
     */
    public SiteSolver(Device device, Calibrator calibrator, @Nullable Tensor hessian, String what) {
        this.device = device;
        this.calibrator = calibrator;
        this.arena = device.arena();
        if (hessian == null) {
            if (calibrator.needsHessian()) {
                throw new IllegalArgumentException("no Hessian for " + what);
            }
            this.factor = null;
        } else {
            this.factor = InverseFactor.of(device, arena, hessian, calibrator.settings(), what);
        }
    }

    private SiteSolver(Device device, Calibrator calibrator, @Nullable InverseFactor factor) {
        this.device = device;
        this.calibrator = calibrator;
        this.arena = device.arena();
        this.factor = factor;
    }

    /** The same Hessian, order and groups for other codes; this one must stay open as long. */
    public SiteSolver on(Grid grid) {
        SolveSettings own = calibrator.settings();
        return new SiteSolver(device,
                calibrator.with(new SolveSettings(grid, own.groupSize(), own.actOrder(), own.damp())), factor);
    }

    /** tr(W H W^T) without dead inputs, which errors are relative to: weight F32 [m, n]. */
    public double energy(Tensor weight) {
        try (TensorArena scratch = device.arena()) {
            long inputs = weight.columns();
            long outputs = weight.rows();
            Tensor wt = scratch.matrix(DType.F32, inputs, outputs);
            device.matrix().transpose(weight, wt);
            zeroDead(wt);
            return quadratic(scratch, requireFactor().hessian(), wt,
                    scratch.matrix(DType.F32, wt.rows(), wt.columns()));
        }
    }

    /**
     * Quantizes one linear and overwrites its weight with the dequantized one.
     *
     * @param result owns the codes
     * @param weight F32 [m, n] in, dequantized out
     */
    public LinearSolution solve(TensorArena result, Tensor weight) {
        return switch (calibrator) {
            case Calibrator.RoundToNearest rtn ->
                solve(weight, wt -> nearest(result, wt, rtn.settings()), Polish.NONE, null);
            case Calibrator.Gptq gptq ->
                solve(result, weight, new GptqVariant(gptq.searchScales(), null, gptq.polish(), false));
            case Calibrator.Gradient gradient -> throw new IllegalStateException(
                    "gradient calibration chooses among variants, block by block");
        };
    }

    /** The same with a given variant, which may have another target; the errors are then relative to that. */
    public LinearSolution solve(TensorArena result, Tensor weight, GptqVariant variant) {
        long inputs = weight.columns();
        long outputs = weight.rows();
        Tensor rounded = variant.keepRounded() ? result.matrix(DType.F32, inputs, outputs) : null;
        return solve(weight, wt -> {
            propagate(wt, variant.propagation());
            return new GptqSolver(device, calibrator.settings().grid(), variant.searchScales()).solve(result, wt,
                    requireFactor(), rounded);
        }, variant.polish(), rounded);
    }

    /** Chooses the codes of wt F32 [in, out], which it may overwrite with the target. */
    @FunctionalInterface
    private interface Rounding {
        QuantizedWeight of(Tensor wt);
    }

    private LinearSolution solve(Tensor weight, Rounding rounding, Polish polish, @Nullable Tensor rounded) {
        try (TensorArena scratch = device.arena()) {
            long inputs = weight.columns();
            long outputs = weight.rows();
            Tensor wt = scratch.matrix(DType.F32, inputs, outputs);
            device.matrix().transpose(weight, wt);
            QuantizedWeight quantized = rounding.of(wt);
            // From here on the scales are the stored ones: the next blocks' inputs and the report use the stored
            // weight.
            StoredScales.round(device, calibrator.settings().grid().scaleType(), quantized.scales(),
                    quantized.scales());
            polish(polish, wt, quantized);
            Tensor q = scratch.matrix(DType.F32, inputs, outputs);
            device.quant().dequantize(quantized.codes(), quantized.scales(), quantized.zeros(), quantized.groupOf(), q);
            device.matrix().transpose(q, weight);
            return measure(scratch, quantized, wt, q, rounded);
        }
    }

    /** Starts from the stored scales, whose rounding it may correct. */
    private void polish(Polish polish, Tensor wt, QuantizedWeight quantized) {
        if (!polish.isNone()) {
            new Polisher(device, calibrator.settings().grid(), requireFactor()).polish(polish, wt, quantized);
        }
    }

    /** wt += strength (H + damp)^-1 (C - H) wt. */
    private void propagate(Tensor wt, GptqVariant.@Nullable Propagation propagation) {
        if (propagation == null) {
            return;
        }
        InverseFactor solved = requireFactor();
        try (TensorArena scratch = device.arena()) {
            Tensor shift = scratch.matrix(DType.F32, wt.rows(), wt.columns());
            device.matrix().gemm(propagation.strength(), propagation.cross(), false, wt, false, 0, shift);
            device.matrix().gemm(-propagation.strength(), solved.hessian(), false, wt, false, 1, shift);
            // A dead input has no error to correct.
            zeroDead(shift);
            solved.applyInverse(device, shift);
            device.neural().add(wt, shift);
        }
    }

    /**
     * Peak device memory of solve(), including the result: three copies of the weight in F32, two of its
     * codes, the errors of one block of inputs, the grids, vectors; or the memory of polishing it, with a copy of the
     * Hessian.
     */
    public static long peakBytes(long inputs, long outputs, long groups) {
        long perOutput = (3 * 4 + 2) * inputs + 4 * Math.min(GptqSolver.BLOCK, inputs) + (4 + 4) * groups;
        return Math.max(perOutput * outputs, Polisher.bytes(inputs, outputs, groups)) + VECTORS * inputs;
    }

    private QuantizedWeight nearest(TensorArena result, Tensor wt, SolveSettings settings) {
        int n = Math.toIntExact(wt.rows());
        int groupSize = settings.groupSizeFor(n);
        int groups = Math.ceilDiv(n, groupSize);
        Tensor scales = result.matrix(DType.F32, groups, wt.columns());
        Tensor zeros = result.matrix(DType.I32, groups, wt.columns());
        Tensor codes = result.matrix(DType.U8, n, wt.columns());
        int[] gIdx = IntStream.range(0, n).map(i -> i / groupSize).toArray();
        Tensor groupOf = HostVectors.upload(device, result, gIdx);
        new GptqSolver(device, settings.grid(), false).fitGroups(wt, groupSize, scales, zeros);
        device.quant().quantize(settings.grid(), wt, scales, zeros, groupOf, codes);
        return new QuantizedWeight(codes, scales, zeros, groupOf);
    }

    /** Clears the rows of inputs that were never active, which contribute no output: wt F32 [in, out]. */
    private void zeroDead(Tensor wt) {
        if (factor == null) {
            return;
        }
        boolean[] dead = factor.dead();
        for (int from = 0, to; from < dead.length; from = to) {
            to = from + 1;
            while (to < dead.length && dead[to] == dead[from]) {
                to++;
            }
            if (dead[from]) {
                device.matrix().fill(wt.rows(from, to - from), 0);
            }
        }
    }

    /** wt and q are overwritten. */
    private LinearSolution measure(TensorArena scratch, QuantizedWeight quantized, Tensor wt, Tensor q,
            @Nullable Tensor rounded) {
        double weightEnergy = dot(scratch, wt, wt);
        device.matrix().subtract(wt, q, q);
        double weightError = ratio(dot(scratch, q, q), weightEnergy);
        float largest = largest(scratch, quantized.scales());
        if (factor == null) {
            return new LinearSolution(quantized, weightError, largest, null, null, 0, 0, null);
        }
        zeroDead(q);
        zeroDead(wt);
        Tensor product = scratch.matrix(DType.F32, wt.rows(), wt.columns());
        double error = quadratic(scratch, factor.hessian(), q, product);
        double energy = quadratic(scratch, factor.hessian(), wt, product);
        return new LinearSolution(quantized, weightError, largest, ratio(error, energy), factor.damp(),
                factor.attempts(),
                factor.deadInputs(), rounded);
    }

    /** tr(d^T H d), the summed squared output of the weight d over the calibration inputs (up to H's factor). */
    private double quadratic(TensorArena scratch, Tensor hessian, Tensor d, Tensor product) {
        Tensor result = scratch.vector(DType.F64, 1);
        device.matrix().quadratic(hessian, d, product, result);
        return HostVectors.doubles(device, result)[0];
    }

    private double dot(TensorArena scratch, Tensor a, Tensor b) {
        Tensor result = scratch.vector(DType.F64, 1);
        device.matrix().dot(a, b, result);
        return HostVectors.doubles(device, result)[0];
    }

    private float largest(TensorArena scratch, Tensor x) {
        Tensor peak = scratch.vector(DType.F32, 1);
        device.matrix().fill(peak, 0);
        device.matrix().peak(x, peak);
        return HostVectors.floats(device, peak)[0];
    }

    private static double ratio(double part, double whole) {
        return whole > 0 ? part / whole : 0;
    }

    private InverseFactor requireFactor() {
        if (factor == null) {
            throw new IllegalStateException("this calibrator needs a Hessian");
        }
        return factor;
    }

    /** Leaves the Hessian as it was, for another solver of the same site; this one is done. */
    public void restoreHessian() {
        requireFactor().restore(device);
    }

    @Override
    public void close() {
        arena.close();
    }
}
