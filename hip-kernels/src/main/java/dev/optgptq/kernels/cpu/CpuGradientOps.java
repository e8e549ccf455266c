package dev.optgptq.kernels.cpu;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.cpu.attention.CpuAttentionMatrices;
import dev.optgptq.kernels.cpu.attention.CpuRotary;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.cpu.attention.CpuAttentionGradient;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.cpu.loops.Rows;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.lang.foreign.MemorySegment;
import java.util.function.Supplier;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** GradientOps on vectors and all threads. Every result is the same, to the bit, for any number of threads. */
final class CpuGradientOps implements GradientOps {

    private final Parallel parallel;
    private final CpuAttentionGradient attention;

    /** @param scratch arenas for working memory, counted as the device's */
    CpuGradientOps(Parallel parallel, Supplier<TensorArena> scratch) {
        this.parallel = parallel;
        this.attention = new CpuAttentionGradient(parallel, scratch);
    }

    @Override
    public void rmsNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight) {
        CpuNormGradients.rmsNorm(parallel, x, weight, Math.toIntExact(x.columns()), eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias) {
        layerNormGroupsGradient(x, weight, Math.toIntExact(x.columns()), eps, dOut, dx, dWeight, dBias);
    }

    @Override
    public void rmsNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        CpuNormGradients.rmsNorm(parallel, x, weight, width, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        CpuNormGradients.layerNorm(parallel, x, weight, width, eps, dOut, dx, dWeight);
        if (dBias != null) {
            CpuNormGradients.bias(parallel, dOut, dBias);
        }
    }

    @Override
    public void rotaryGradient(Tensor d, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        CpuRotary.rotateBack(parallel, d, headDim, cos, sin, layout);
    }

    @Override
    public void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv,
            @Nullable Tensor dSinks) {
        attention.run(forward, dOut, dq, dk, dv, dSinks);
    }

    @Override
    public void activateGradient(Activation activation, Tensor x, Tensor dOut) {
        CpuActivationGradients.activate(parallel, activation, x, dOut);
    }

    @Override
    public void activateGatedGradient(Activation activation, Tensor gate, Tensor up, Tensor dOut) {
        CpuActivationGradients.activateGated(parallel, activation, gate, up, dOut);
    }

    @Override
    public void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut) {
        CpuGates.clampedSwigluGradient(parallel, gate, up, alpha, limit, dOut);
    }

    @Override
    public void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d) {
        CpuGates.gateSigmoidGradient(parallel, x, gate, d);
    }

    @Override
    public void softcapGradient(Tensor y, float cap, Tensor d) {
        CpuLimits.softcapGradient(parallel, y, cap, d);
    }

    @Override
    public void clampGradient(Tensor x, float limit, Tensor d) {
        CpuLimits.clampGradient(parallel, x, limit, d);
    }

    @Override
    public void embedGradient(Tensor ids, Tensor dOut, Tensor dTable) {
        CpuLossGradient.embed(parallel, ids, dOut, dTable);
    }

    @Override
    public void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights) {
        CpuLossGradient.crossEntropy(parallel, logits, targets, weights);
    }

    @Override
    public void klGradient(Tensor teacher, Tensor student, Tensor weights) {
        CpuKlDivergence.gradient(parallel, teacher, student, weights);
    }

    @Override
    public void addRowsInto(Tensor x, Tensor sums) {
        CpuNormGradients.bias(parallel, x, sums);
    }

    @Override
    public void addSquares(float factor, Tensor x, Tensor squares) {
        int columns = Math.toIntExact(x.columns());
        MemorySegment target = squares.memory();
        Rows.forEach(parallel, x, row -> {
            float sum = CpuNorms.sumOfSquares(x.memory(), Memory.row(x, row), columns, 0);
            target.set(Memory.FLOAT, 4 * row, target.get(Memory.FLOAT, 4 * row) + factor * sum);
        });
    }

    @Override
    public void scaleRows(Tensor x, Tensor factors, Tensor out) {
        int columns = Math.toIntExact(x.columns());
        Rows.forEach(parallel, x, row -> scaleRow(x.memory(), Memory.row(x, row),
                factors.memory().get(Memory.FLOAT, 4 * row), out.memory(), Memory.row(out, row), columns));
    }

    private static void scaleRow(MemorySegment x, long xAt, float factor, MemorySegment out, long outAt, int columns) {
        int c = 0;
        for (; c <= columns - LANES; c += LANES) {
            Memory.store(Memory.load(x, xAt + 4L * c).mul(factor), out, outAt + 4L * c);
        }
        if (c < columns) {
            VectorMask<Float> lanes = SPECIES.indexInRange(c, columns);
            Memory.store(Memory.load(x, xAt + 4L * c, lanes).mul(factor), out, outAt + 4L * c, lanes);
        }
    }

    @Override
    public void attentionCurvature(Tensor first, Tensor second, CurvatureWeights weights, int window, Tensor errors) {
        CpuAttentionMatrices.curvature(parallel, first, second, weights, window, errors);
    }
}
