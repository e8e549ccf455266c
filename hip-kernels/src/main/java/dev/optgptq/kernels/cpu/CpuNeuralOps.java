package dev.optgptq.kernels.cpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.cpu.attention.CpuAttention;
import dev.optgptq.kernels.cpu.loops.CpuElementwise;
import dev.optgptq.kernels.cpu.loops.Parallel;
import dev.optgptq.kernels.ops.NeuralArguments;
import dev.optgptq.kernels.ops.NeuralOps;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** NeuralOps on vectors and all threads. Every result is the same, to the bit, for any number of threads. */
public final class CpuNeuralOps implements NeuralOps {

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
        NeuralArguments.convert(source, target);
        CpuConversions.convert(parallel, source, target);
    }

    @Override
    public void embed(Tensor ids, Tensor table, Tensor out) {
        NeuralArguments.embed(ids, table, out);
        CpuConversions.embed(parallel, ids, table, out);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
        NeuralArguments.rmsNorm(x, weight, out);
        CpuNorms.rmsNorm(parallel, x, weight, eps, out);
    }

    @Override
    public void layerNorm(Tensor x, Tensor weight, @Nullable Tensor bias, float eps, Tensor out) {
        NeuralArguments.layerNorm(x, weight, bias, out);
        CpuNorms.layerNorm(parallel, x, weight, bias, eps, out);
    }

    @Override
    public void rotary(Tensor x, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        NeuralArguments.rotary(x, headDim, cos, sin);
        CpuRotary.rotate(parallel, x, headDim, cos, sin, layout);
    }

    @Override
    public void attention(Tensor q, Tensor k, Tensor v, @Nullable Tensor slopes, AttentionShape shape, Tensor out) {
        NeuralArguments.attention(q, k, v, slopes, shape, out);
        if (q.dtype() == DType.F32) {
            attention.run(q, k, v, slopes, shape, out);
            return;
        }
        try (TensorArena arena = scratch.get()) {
            attention.run(widened(q, arena), widened(k, arena), widened(v, arena), slopes, shape, out);
        }
    }

    private Tensor widened(Tensor halves, TensorArena arena) {
        Tensor widened = arena.matrix(DType.F32, halves.rows(), halves.columns());
        CpuConversions.convert(parallel, halves, widened);
        return widened;
    }

    @Override
    public void activate(Activation activation, Tensor x) {
        NeuralArguments.activate(x);
        CpuActivations.activate(parallel, activation, x);
    }

    @Override
    public void activateGated(Activation activation, Tensor gate, Tensor up) {
        NeuralArguments.activateGated(gate, up);
        CpuActivations.activateGated(parallel, activation, gate, up);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        NeuralArguments.add(x, y);
        CpuElementwise.add(parallel, x, y);
    }

    @Override
    public void addRow(Tensor x, Tensor row) {
        NeuralArguments.addRow(x, row);
        CpuElementwise.addRow(parallel, x, row);
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, Tensor nll) {
        NeuralArguments.crossEntropy(logits, targets, nll);
        CpuCrossEntropy.run(parallel, logits, targets, nll);
    }

    @Override
    public void klDivergence(Tensor teacher, Tensor student, Tensor kl, Tensor agrees) {
        NeuralArguments.klDivergence(teacher, student, kl, agrees);
        CpuKlDivergence.run(parallel, teacher, student, kl, agrees);
    }

    @Override
    public void countNonFinite(Tensor x, Tensor count) {
        NeuralArguments.countNonFinite(x, count);
        CpuFiniteCheck.count(parallel, x, count);
    }
}
