package dev.optgptq.kernels.cpu;

import dev.optgptq.kernels.cpu.attention.CpuAttentionMatrices;
import dev.optgptq.kernels.cpu.attention.CpuRotary;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.attention.CpuAttention;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** NeuralOps on vectors and all threads. Every result is the same, to the bit, for any number of threads. */
public final class CpuNeuralOps implements NeuralOps {

    /** Elements, 64 KiB in float32. */
    private static final long ROUNDED_AT_ONCE = 1 << 14;
    private static final long ALIGNMENT = 64;

    private final Parallel parallel;
    private final CpuAttention attention;
    private final Supplier<TensorArena> scratch;

    /** @param scratch arenas for working memory, counted as the device's */
    public CpuNeuralOps(Parallel parallel, Supplier<TensorArena> scratch) {
        this.parallel = parallel;
        this.scratch = scratch;
        this.attention = new CpuAttention(parallel);
    }

    @Override
    public void convert(Tensor source, Tensor target) {
        CpuConversions.convert(parallel, source, target);
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        CpuConversions.embed(parallel, ids, table, out);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        byRows(out, (by, from, target) -> CpuNorms.rmsNorm(by, x.rows(from, target.rows()), weight,
                Math.toIntExact(x.columns()), eps, target));
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        byRows(out, (by, from, target) -> CpuNorms.layerNorm(by, x.rows(from, target.rows()), weight, bias,
                Math.toIntExact(x.columns()), eps, target));
    }

    /** An op whose rows do not depend on each other: writes F32 rows, from the first one given, with these threads. */
    private interface RowsOp {
        void run(Parallel by, long from, Tensor target);
    }

    /** Some rows at a time where they are rounded, so that what is rounded is still in the cache. */
    private void byRows(Tensor out, RowsOp op) {
        if (out.dtype() == DType.F32) {
            op.run(parallel, 0, out);
            return;
        }
        long rows = Math.max(1, ROUNDED_AT_ONCE / Math.max(1, out.columns()));
        parallel.forRanges(out.rows(), rows, (from, to) -> {
            // Confined: closing a shared arena stops every thread of the JVM.
            try (Arena arena = Arena.ofConfined(); Parallel alone = new Parallel(1)) {
                Tensor exact = Tensor.dense(DType.F32, to - from, out.columns(),
                        arena.allocate(Float.BYTES * (to - from) * out.columns(), ALIGNMENT));
                op.run(alone, from, exact);
                CpuConversions.convert(alone, exact, out.rows(from, to - from));
            }
        });
    }

    /** @param op writes F32, which is rounded if out is not */
    private void rounded(Tensor out, Consumer<Tensor> op) {
        if (out.dtype() == DType.F32) {
            op.accept(out);
            return;
        }
        try (TensorArena arena = scratch.get()) {
            Tensor exact = arena.matrix(DType.F32, out.rows(), out.columns());
            op.accept(exact);
            CpuConversions.convert(parallel, exact, out);
        }
    }

    @Override
    public void rmsNormGroups(Tensor x, Tensor weight, int width, float eps, Tensor out) {
        CpuNorms.rmsNorm(parallel, x, weight, width, eps, out);
    }

    @Override
    public void layerNormGroups(Tensor x, Tensor weight, @Nullable Tensor bias, int width, float eps, Tensor out) {
        CpuNorms.layerNorm(parallel, x, weight, bias, width, eps, out);
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        CpuRotary.rotate(parallel, x, headDim, cos, sin, layout);
    }

    @Override
    public void rotaryTo(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout, Tensor out) {
        rounded(out, target -> {
            CpuConversions.convert(parallel, x, target);
            CpuRotary.rotate(parallel, target, headDim, cos, sin, layout);
        });
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, @Nullable Tensor sinks,
            AttentionShape shape, Tensor out) {
        if (q.dtype() == DType.F32) {
            attention.run(new Attended(q, k, v, slopes, sinks, shape, out));
            return;
        }
        try (TensorArena arena = scratch.get()) {
            attention.run(new Attended(widened(q, arena), widened(k, arena), widened(v, arena), slopes, sinks, shape,
                    out));
        }
    }

    private Tensor widened(Tensor halves, TensorArena arena) {
        Tensor widened = arena.matrix(DType.F32, halves.rows(), halves.columns());
        CpuConversions.convert(parallel, halves, widened);
        return widened;
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        CpuActivations.activate(parallel, activation, x);
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up, Tensor out) {
        byRows(out, (by, from, target) -> {
            Tensor rows = gate.rows(from, target.rows());
            if (!target.equals(rows)) {
                CpuConversions.convert(by, rows, target);
            }
            CpuActivations.activateGated(by, activation, target, up.rows(from, target.rows()));
        });
    }

    @Override
    public void clampedSwiglu(Tensor gate, Tensor up, float alpha, float limit) {
        CpuGates.clampedSwiglu(parallel, gate, up, alpha, limit);
    }

    @Override
    public void gateSigmoid(Tensor x, Tensor gate) {
        CpuGates.gateSigmoid(parallel, x, gate);
    }

    @Override
    public void scale(Tensor x, float factor) {
        CpuLimits.scale(parallel, x, factor);
    }

    @Override
    public void softcap(Tensor x, float cap) {
        CpuLimits.softcap(parallel, x, cap);
    }

    @Override
    public void clamp(Tensor x, float limit) {
        CpuLimits.clamp(parallel, x, limit);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        CpuElementwise.add(parallel, x, y);
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        CpuElementwise.addRow(parallel, x, row);
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        CpuCrossEntropy.run(parallel, logits, targets, nll);
    }

    @Override
    public void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        CpuKlDivergence.run(parallel, teacher, student, kl, agrees);
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        CpuFiniteCheck.count(parallel, x, count);
    }

    @Override
    public void causalSoftmax(Tensor scores, float scale, @Nullable Tensor slopes, int window) {
        CpuAttentionMatrices.causalSoftmax(parallel, scores, scale, slopes, window);
    }
}
